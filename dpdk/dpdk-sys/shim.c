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

/* An IP header with the next protocol that rules about IP in IP need; others are told by the item behind. */
static struct rte_flow_item ip_item(uint8_t version, uint8_t inner, struct rte_flow_item_ipv4 *v4, struct rte_flow_item_ipv6 *v6,
				    const struct rte_flow_item_ipv4 *v4_mask, const struct rte_flow_item_ipv6 *v6_mask)
{
	uint8_t next = inner == 6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
	struct rte_flow_item item = { .type = version == 6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4 };

	if (inner == 0)
		return item;
	v4->hdr.next_proto_id = next;
	v6->hdr.proto = next;
	item.spec = version == 6 ? (const void *)v6 : v4;
	item.mask = version == 6 ? (const void *)v6_mask : v4_mask;
	return item;
}

struct rte_flow *sw_flow_create(uint16_t port, const struct sw_flow_rule *rule)
{
	static const struct rte_flow_item_ipv4 v4_mask = { .hdr.next_proto_id = 0xff };
	static const struct rte_flow_item_ipv6 v6_mask = { .hdr.proto = 0xff };
	static const struct rte_flow_item_udp udp_mask = { .hdr.dst_port = 0xffff };
	struct rte_flow_item_ipv4 v4 = { 0 };
	struct rte_flow_item_ipv6 v6 = { 0 };
	struct rte_flow_item_udp udp = { .hdr.dst_port = rte_cpu_to_be_16(rule->udp_port) };
	struct rte_flow_item_esp esp = { .hdr.spi = rte_cpu_to_be_32(rule->spi) };
	struct rte_flow_item_esp esp_mask = { .hdr.spi = rte_cpu_to_be_32(rule->spi_mask) };
	struct rte_flow_attr attr = { .ingress = 1 };
	struct rte_flow_action_queue one = { .index = rule->queue };
	uint16_t queues[RTE_MAX_QUEUES_PER_PORT];
	struct rte_flow_action_rss several = {
		.func = RTE_ETH_HASH_FUNCTION_DEFAULT, .level = rule->rss_level, .types = rule->rss,
		.queue_num = rule->queue, .queue = queues,
	};
	struct rte_flow_action actions[] = { { .type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &one }, { .type = RTE_FLOW_ACTION_TYPE_END } };
	struct rte_flow_item pattern[5] = { { .type = RTE_FLOW_ITEM_TYPE_ETH } };
	struct rte_flow_error error;
	uint16_t n;
	int at = 1, ret;

	if (rule->rss != 0) {
		if (rule->queue > RTE_DIM(queues)) {
			rte_errno = EINVAL;
			return NULL;
		}
		for (n = 0; n < rule->queue; n++)
			queues[n] = n;
		actions[0] = (struct rte_flow_action){ .type = RTE_FLOW_ACTION_TYPE_RSS, .conf = &several };
	}
	pattern[at++] = ip_item(rule->outer, rule->traffic == SW_FLOW_IP_IN_IP ? rule->inner : 0, &v4, &v6, &v4_mask, &v6_mask);
	switch (rule->traffic) {
	case SW_FLOW_IP_IN_IP:
		pattern[at++].type = rule->inner == 6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4;
		break;
	case SW_FLOW_UDP:
		pattern[at++] = (struct rte_flow_item){ .type = RTE_FLOW_ITEM_TYPE_UDP, .spec = &udp, .mask = &udp_mask };
		break;
	case SW_FLOW_ESP_IN_UDP:
		/* The port is 4500 without saying so (RFC 3948); drivers take no other, or none that is said. */
		pattern[at++].type = RTE_FLOW_ITEM_TYPE_UDP;
		/* fall through */
	case SW_FLOW_ESP:
		pattern[at].type = RTE_FLOW_ITEM_TYPE_ESP;
		if (rule->spi_mask != 0) {
			pattern[at].spec = &esp;
			pattern[at].mask = &esp_mask;
		}
		at++;
		break;
	}
	pattern[at].type = RTE_FLOW_ITEM_TYPE_END;
	ret = rte_flow_validate(port, &attr, pattern, actions, &error);
	if (ret != 0) {
		rte_errno = -ret;
		return NULL;
	}
	return rte_flow_create(port, &attr, pattern, actions, &error);
}

int sw_flow_destroy(uint16_t port, struct rte_flow *flow)
{
	struct rte_flow_error error;

	return rte_flow_destroy(port, flow, &error);
}
