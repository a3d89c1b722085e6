/* SPDX-License-Identifier: MIT */
/*
 * A treap: a search tree by (start, insertion) that is at the same time a heap by priority. With random priorities its
 * expected depth is that of a random search tree whatever the order of insertion. Insertion hangs a leaf and rotates it
 * up to its priority; removal rotates the node down until it has at most one child. Every rotation touches two nodes'
 * subtree_last, and the path above the change is recomputed once.
 *
 *          p                 n
 *         / \    rotate_up  / \
 *        n   c  ---------> a   p
 *       / \       (n)         / \
 *      a   b                 b   c
 *
 * Source: Seidel, Aragon, "Randomized search trees" (1996); interval search as in Cormen et al., chapter 14.3.
 */
#include <pagesim/interval_tree.h>
#include <pagesim/rng.h>

static void update(struct interval_tree_node *n)
{
	u64 last = n->last;

	if (n->left && n->left->subtree_last > last)
		last = n->left->subtree_last;
	if (n->right && n->right->subtree_last > last)
		last = n->right->subtree_last;
	n->subtree_last = last;
}

/* The pointer that points at n. */
static struct interval_tree_node **link_of(struct interval_tree_node *n, struct interval_tree_root *root)
{
	if (!n->parent)
		return &root->node;
	return n->parent->left == n ? &n->parent->left : &n->parent->right;
}

static void rotate_up(struct interval_tree_node *n, struct interval_tree_root *root)
{
	struct interval_tree_node *p = n->parent;
	struct interval_tree_node **link = link_of(p, root);
	struct interval_tree_node *inner;

	if (p->left == n) {
		inner = n->right;
		p->left = inner;
		n->right = p;
	} else {
		inner = n->left;
		p->right = inner;
		n->left = p;
	}
	if (inner)
		inner->parent = p;
	n->parent = p->parent;
	p->parent = n;
	*link = n;
	update(p);
	update(n);
}

void interval_tree_insert(struct interval_tree_node *node, struct interval_tree_root *root)
{
	struct interval_tree_node **link = &root->node, *parent = NULL;

	while (*link) {
		parent = *link;
		if (node->last > parent->subtree_last)
			parent->subtree_last = node->last;
		link = node->start < parent->start ? &parent->left : &parent->right;
	}
	node->left = NULL;
	node->right = NULL;
	node->parent = parent;
	node->subtree_last = node->last;
	node->priority = ps_splitmix64(&root->seed);
	*link = node;
	while (node->parent && node->priority > node->parent->priority)
		rotate_up(node, root);
}

void interval_tree_remove(struct interval_tree_node *node, struct interval_tree_root *root)
{
	struct interval_tree_node *child, *n;

	while (node->left && node->right)
		rotate_up(node->left->priority > node->right->priority ? node->left : node->right, root);
	child = node->left ? node->left : node->right;
	*link_of(node, root) = child;
	if (child)
		child->parent = node->parent;
	for (n = node->parent; n; n = n->parent)
		update(n);
	node->parent = NULL;
	node->left = NULL;
	node->right = NULL;
}

/*
 * The first overlap at or below n, whose subtree_last is known to reach start. Going left whenever the left side reaches
 * start is enough: if the node found there starts behind `last`, so does everything after it.
 */
static struct interval_tree_node *first_below(struct interval_tree_node *n, u64 start, u64 last)
{
	for (;;) {
		if (n->left && n->left->subtree_last >= start) {
			n = n->left;
			continue;
		}
		if (n->start > last)
			return NULL;
		if (n->last >= start)
			return n;
		n = n->right;
	}
}

struct interval_tree_node *interval_tree_iter_first(const struct interval_tree_root *root, u64 start, u64 last)
{
	if (!root->node || root->node->subtree_last < start)
		return NULL;
	return first_below(root->node, start, last);
}

struct interval_tree_node *interval_tree_iter_next(const struct interval_tree_node *node, u64 start, u64 last)
{
	const struct interval_tree_node *n = node;

	if (n->right && n->right->subtree_last >= start)
		return first_below(n->right, start, last);
	for (;;) {
		const struct interval_tree_node *from = n;

		n = n->parent;
		if (!n)
			return NULL;
		if (from == n->right)
			continue;
		if (n->start > last)
			return NULL;
		if (n->last >= start)
			return (struct interval_tree_node *)n;
		if (n->right && n->right->subtree_last >= start)
			return first_below(n->right, start, last);
	}
}

struct interval_tree_node *interval_tree_first(const struct interval_tree_root *root)
{
	return interval_tree_iter_first(root, 0, UINT64_MAX);
}

struct interval_tree_node *interval_tree_next(const struct interval_tree_node *node)
{
	return interval_tree_iter_next(node, 0, UINT64_MAX);
}

bool interval_tree_check(const struct interval_tree_root *root)
{
	const struct interval_tree_node *n, *prev = NULL;

	if (root->node && root->node->parent)
		return false;
	for (n = interval_tree_first(root); n; prev = n, n = interval_tree_next(n)) {
		struct interval_tree_node copy = *n;

		update(&copy);
		if (n->start > n->last || copy.subtree_last != n->subtree_last || (prev && prev->start > n->start))
			return false;
		if ((n->left && (n->left->parent != n || n->left->priority > n->priority)) ||
		    (n->right && (n->right->parent != n || n->right->priority > n->priority)))
			return false;
	}
	return true;
}
