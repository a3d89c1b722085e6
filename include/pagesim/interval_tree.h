/* SPDX-License-Identifier: MIT */
/*
 * A set of closed intervals [start, last] of u64, asked "which of you overlap this range?": VMAs of a file by page
 * offset, anon_vma chains of an anon_vma. A search tree ordered by start, balanced as a treap whose priorities come
 * from a counter in the root (so the shape depends on the history only, never on addresses), in which every node
 * also knows the greatest last of its subtree.
 *
 * Guarantees:
 *   a. iteration is by ascending start; equal starts come in insertion order;
 *   b. insert, remove, iter_first and iter_next take O(log n) expected steps;
 *   c. nothing is allocated: the node is embedded in the user's struct.
 *
 * Locking: the owner's; no function here sleeps.
 *
 * Layer: base
 */
#ifndef PAGESIM_INTERVAL_TREE_H
#define PAGESIM_INTERVAL_TREE_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct interval_tree_node {
	u64 start, last;  /* set by the user before insertion, constant while in the tree */
	u64 subtree_last; /* greatest last at and below this node */
	struct interval_tree_node *parent, *left, *right;
	u64 priority; /* heap order of the treap */
};

struct interval_tree_root {
	struct interval_tree_node *node;
	u64 seed; /* where the next priority comes from */
};

#define INTERVAL_TREE_ROOT_INIT \
	{                       \
		NULL, 0         \
	}

static inline bool interval_tree_empty(const struct interval_tree_root *root)
{
	return !root->node;
}

/** Adds a node whose start and last are set (start <= last). */
void interval_tree_insert(struct interval_tree_node *node, struct interval_tree_root *root);
/** Takes a node out; the node may be reused at once. */
void interval_tree_remove(struct interval_tree_node *node, struct interval_tree_root *root);
/** Return: the first node in order that overlaps [start, last], or NULL. */
struct interval_tree_node *interval_tree_iter_first(const struct interval_tree_root *root, u64 start, u64 last);
/** Return: the next one after node that overlaps [start, last], or NULL. node must be in the tree. */
struct interval_tree_node *interval_tree_iter_next(const struct interval_tree_node *node, u64 start, u64 last);
/** Return: the first node in order, and the one after node, overlap or not; NULL at the end. */
struct interval_tree_node *interval_tree_first(const struct interval_tree_root *root);
struct interval_tree_node *interval_tree_next(const struct interval_tree_node *node);
/** Proves order, heap order, parent links and subtree_last of every node. Return: true if all hold. */
bool interval_tree_check(const struct interval_tree_root *root);

#define interval_tree_foreach(pos, root, start, last) \
	for (pos = interval_tree_iter_first(root, start, last); pos; pos = interval_tree_iter_next(pos, start, last))

#ifdef __cplusplus
}
#endif

#endif
