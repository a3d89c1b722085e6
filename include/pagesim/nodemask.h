/* SPDX-License-Identifier: MIT */
/*
 * A set of NUMA nodes: at most MAX_NUMNODES (64) of them, so one word, by the kernel's names. The macros take lvalues,
 * not pointers, as in the kernel. Which nodes exist and which have memory is the machine's knowledge, not this file's.
 *
 * Layer: base
 */
#ifndef PAGESIM_NODEMASK_H
#define PAGESIM_NODEMASK_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nodemask {
	u64 bits;
} nodemask_t;

static_assert(MAX_NUMNODES == 64, "a nodemask_t is one word");

static inline nodemask_t ps_nodemask(u64 bits)
{
	nodemask_t m;

	m.bits = bits;
	return m;
}

#define NODE_MASK_NONE         ps_nodemask(0)
#define NODE_MASK_ALL          ps_nodemask(~(u64)0)
#define nodemask_of_node(node) ps_nodemask((u64)1 << (node))

#define node_set(node, dst)      ((void)((dst).bits |= (u64)1 << (node)))
#define node_clear(node, dst)    ((void)((dst).bits &= ~((u64)1 << (node))))
#define nodes_setall(dst)        ((void)((dst).bits = ~(u64)0))
#define nodes_clear(dst)         ((void)((dst).bits = 0))
#define node_isset(node, src)    ((bool)(((src).bits >> (node)) & 1))
#define nodes_and(dst, a, b)     ((void)((dst).bits = (a).bits & (b).bits))
#define nodes_or(dst, a, b)      ((void)((dst).bits = (a).bits | (b).bits))
#define nodes_xor(dst, a, b)     ((void)((dst).bits = (a).bits ^ (b).bits))
#define nodes_andnot(dst, a, b)  ((void)((dst).bits = (a).bits & ~(b).bits))
#define nodes_complement(dst, a) ((void)((dst).bits = ~(a).bits))
#define nodes_equal(a, b)        ((a).bits == (b).bits)
#define nodes_intersects(a, b)   (((a).bits & (b).bits) != 0)
#define nodes_subset(a, b)       (((a).bits & ~(b).bits) == 0)
#define nodes_empty(a)           ((a).bits == 0)
#define nodes_full(a)            ((a).bits == ~(u64)0)
#define nodes_weight(a)          __builtin_popcountll((a).bits)

/** Sets a node. Return: whether it was set before. */
static inline bool ps_node_test_and_set(nid_t node, nodemask_t *dst)
{
	bool old = (dst->bits >> node) & 1;

	dst->bits |= (u64)1 << node;
	return old;
}
#define node_test_and_set(node, dst) ps_node_test_and_set((node), &(dst))

/** Return: the lowest node >= from in the set, or MAX_NUMNODES. */
static inline nid_t ps_node_from(int from, nodemask_t m)
{
	if (from >= MAX_NUMNODES)
		return MAX_NUMNODES;
	m.bits &= ~(u64)0 << from;
	return m.bits ? (nid_t)__builtin_ctzll(m.bits) : MAX_NUMNODES;
}

/** Return: the lowest node of the set, or MAX_NUMNODES. */
#define first_node(src) ps_node_from(0, (src))
/** Return: the next node above node, or MAX_NUMNODES. */
#define next_node(node, src) ps_node_from((node) + 1, (src))

static inline nid_t ps_next_node_in(nid_t node, nodemask_t m)
{
	nid_t next = ps_node_from(node + 1, m);

	return next < MAX_NUMNODES ? next : ps_node_from(0, m);
}
/** Return: the next node above node, from the lowest again after the highest; MAX_NUMNODES for an empty set. */
#define next_node_in(node, src) ps_next_node_in((node), (src))

#define for_each_node_mask(node, mask) \
	for ((node) = first_node(mask); (node) < MAX_NUMNODES; (node) = next_node((node), (mask)))

#ifdef __cplusplus
}
#endif

#endif
