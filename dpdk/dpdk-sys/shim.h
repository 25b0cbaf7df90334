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

#endif
