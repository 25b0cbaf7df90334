/*
 * Everything that Rust sees of DPDK: the headers, and out-of-line versions of the few static inlines that we call.
 *
 * Only calls that move a whole burst are wrapped (the call is then paid once per 32 packets or so), and what has no
 * other form: rte_errno is a macro over thread-local storage. Fields of an mbuf are read and written in Rust.
 */
#ifndef SW_SHIM_H
#define SW_SHIM_H

#include <rte_config.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_ip_frag.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <rte_version.h>

/* rte_errno of the calling thread. */
int sw_errno(void);
/* rte_lcore_id(): UINT32_MAX for a thread that is not registered. */
unsigned int sw_lcore_id(void);

uint16_t sw_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);
uint16_t sw_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);

/* All n mbufs or none (then not zero). */
int sw_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **pkts, unsigned int n);
/* One packet with all its segments. */
void sw_mbuf_free(struct rte_mbuf *pkt);

/* Rings are created single-producer, single-consumer or not by their flags; these obey them. */
unsigned int sw_ring_enqueue_burst(struct rte_ring *ring, void *const *objects, unsigned int n);
unsigned int sw_ring_dequeue_burst(struct rte_ring *ring, void **objects, unsigned int n);

/* The frames that a rule of rte_flow is about, behind Ethernet and IP. */
enum sw_flow_traffic {
	SW_FLOW_ESP,
	SW_FLOW_ESP_IN_UDP,
	SW_FLOW_IP_IN_IP,
	SW_FLOW_UDP,
};

/* A rule: frames, and the queue or the queues that they go to. */
struct sw_flow_rule {
	enum sw_flow_traffic traffic;
	uint8_t outer;		/* version of IP, 4 or 6 */
	uint8_t inner;		/* the same of what is in IP */
	uint16_t udp_port;	/* destination, for SW_FLOW_UDP */
	uint32_t spi;		/* in host order; a mask of 0 is any SPI */
	uint32_t spi_mask;
	uint64_t rss;		/* RTE_ETH_RSS_*; 0: to one queue */
	uint32_t rss_level;
	uint16_t queue;		/* that queue, or the number of queues, which are 0 to queue - 1 */
};

/* Asks the driver about the rule, and gives it the rule if it takes it. NULL if not, with rte_errno. */
struct rte_flow *sw_flow_create(uint16_t port, const struct sw_flow_rule *rule);
/* Takes it back; 0 if that worked. */
int sw_flow_destroy(uint16_t port, struct rte_flow *flow);

#endif
