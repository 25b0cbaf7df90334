/* See shim.h. */
#include "shim.h"

int sw_errno(void)
{
	return rte_errno;
}

unsigned int sw_lcore_id(void)
{
	return rte_lcore_id();
}

uint16_t sw_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, pkts, n);
}

uint16_t sw_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, pkts, n);
}

int sw_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **pkts, unsigned int n)
{
	return rte_pktmbuf_alloc_bulk(pool, pkts, n);
}

void sw_mbuf_free(struct rte_mbuf *pkt)
{
	rte_pktmbuf_free(pkt);
}

unsigned int sw_ring_enqueue_burst(struct rte_ring *ring, void *const *objects, unsigned int n)
{
	return rte_ring_enqueue_burst(ring, objects, n, NULL);
}

unsigned int sw_ring_dequeue_burst(struct rte_ring *ring, void **objects, unsigned int n)
{
	return rte_ring_dequeue_burst(ring, objects, n, NULL);
}
