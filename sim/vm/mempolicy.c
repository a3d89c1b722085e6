/* SPDX-License-Identifier: MIT */
/*
 * Which node a page comes from: the policy of the file, the VMA, the task or the system, and what each mode does with it.
 *
 * An interleaved page's node is a function of where the page lies, not of when it is touched: page i of the mapping (in
 * units of the allocation's size, counted from the mapping's file offset) gets the i-th node, modulo the number of nodes. With
 * weights each node stands in that row as often as its weight says. Only pages that lie nowhere in particular (of a file that
 * has no policy of its own) are dealt out in turn, by a counter of the task.
 *
 * Source of the weighted mode: Linux 6.9, commit fa3bea4e1f82.
 */
#include <pagesim/mempolicy.h>

#include <pagesim/address_space.h>
#include <pagesim/alloc.h>
#include <pagesim/compound.h>
#include <pagesim/gfp.h>
#include <pagesim/inode.h>
#include <pagesim/interval_tree.h>
#include <pagesim/machine.h>
#include <pagesim/mm.h>
#include <pagesim/mmzone.h>
#include <pagesim/page_alloc.h>
#include <pagesim/spinlock.h>
#include <pagesim/task.h>
#include <pagesim/vmstat.h>

static const struct mempolicy default_policy = { .mode = MPOL_LOCAL };

int mpol_new(enum mempolicy_mode mode, const nodemask_t *nodes, struct mempolicy **ret_policy)
{
	struct ps_machine *machine = this_machine();
	struct mempolicy *pol;
	nodemask_t present;
	nid_t nid;

	nodes_clear(present);
	if (nodes)
		for_each_node_mask(nid, *nodes) if (nid < (nid_t)machine->nr_nodes) node_set(nid, present);
	nodes_and(present, present, machine->memory_nodes);
	if (mode == MPOL_DEFAULT) {
		if (nodes && !nodes_empty(*nodes))
			return -EINVAL;
		*ret_policy = NULL;
		return 0;
	}
	if (mode != MPOL_LOCAL && nodes_empty(present)) {
		/* "preferred" without nodes means local, with only absent ones it is an error. */
		if (mode != MPOL_PREFERRED || (nodes && !nodes_empty(*nodes)))
			return -EINVAL;
		mode = MPOL_LOCAL;
	}
	pol = ps_zalloc(sizeof(*pol));
	if (!pol)
		return -ENOMEM;
	atomic_set(&pol->refcnt, 1);
	pol->mode = mode;
	if (mode == MPOL_PREFERRED) {
		nid = first_node(present);
		nodes_clear(present);
		node_set(nid, present);
	}
	pol->nodes = present;
	*ret_policy = pol;
	return 0;
}

void mpol_put(struct mempolicy *pol)
{
	if (pol && atomic_dec_and_test(&pol->refcnt))
		ps_free(pol);
}

bool mpol_equal(const struct mempolicy *a, const struct mempolicy *b)
{
	if (a == b)
		return true;
	return a && b && a->mode == b->mode && nodes_equal(a->nodes, b->nodes);
}

int mpol_set_weight(nid_t nid, u64 weight)
{
	struct ps_machine *machine = this_machine();

	if (nid < 0 || nid >= MAX_NUMNODES || !node_isset(nid, machine->memory_nodes) || !weight || weight > 255)
		return -EINVAL;
	WRITE_ONCE(machine->interleave_weight[nid], (u8)weight);
	return 0;
}

int set_mempolicy(enum mempolicy_mode mode, const nodemask_t *nodes)
{
	struct mempolicy *pol;
	int ret = mpol_new(mode, nodes, &pol);

	if (ret)
		return ret;
	mpol_put(current->mempolicy);
	current->mempolicy = pol;
	/* The next node after the last there is: the first of the policy. */
	current->il_prev = MAX_NUMNODES - 1;
	current->il_weight = 0;
	return 0;
}

const struct mempolicy *get_task_policy(const struct task_struct *task)
{
	return task->mempolicy ? task->mempolicy : &default_policy;
}

/* ---- the policy of a shared file, by range of its pages */

struct shared_policy {
	struct interval_tree_root ranges; /* of sp_node, disjoint; under lock */
	struct sp_node
		*retired; /* replaced ones: who allocates by a policy may sleep, so it lives as long as the file */
	spinlock_t lock;
};

struct sp_node {
	struct interval_tree_node node;
	struct mempolicy *policy;
	struct sp_node *next; /* while retired */
};

static struct sp_node *sp_alloc(u64 first, u64 last, struct mempolicy *policy)
{
	struct sp_node *n = ps_zalloc(sizeof(*n));

	if (!n)
		return NULL;
	n->node.start = first;
	n->node.last = last;
	n->policy = policy;
	mpol_get(policy);
	return n;
}

static void sp_free(struct sp_node *n)
{
	if (!n)
		return;
	mpol_put(n->policy);
	ps_free(n);
}

/* Cuts the range [first, last] out of everything there; `spare` becomes the upper half of a node cut in two. */
static void sp_cut(struct shared_policy *sp, u64 first, u64 last, struct sp_node **spare)
{
	struct interval_tree_node *found;

	while ((found = interval_tree_iter_first(&sp->ranges, first, last))) {
		struct sp_node *n = container_of(found, struct sp_node, node);
		u64 start = found->start, end = found->last;

		interval_tree_remove(found, &sp->ranges);
		if (end > last && start < first) {
			(*spare)->node.start = last + 1;
			(*spare)->node.last = end;
			(*spare)->policy = n->policy;
			mpol_get(n->policy);
			interval_tree_insert(&(*spare)->node, &sp->ranges);
			*spare = NULL;
		}
		if (start < first) {
			n->node.last = first - 1;
		} else if (end > last) {
			n->node.start = last + 1;
		} else {
			n->next = sp->retired;
			sp->retired = n;
			continue;
		}
		interval_tree_insert(&n->node, &sp->ranges);
	}
}

int mpol_set_shared_policy(struct inode *inode, pgoff_t first, u64 nr, struct mempolicy *policy)
{
	struct shared_policy *sp = inode->i_policy;
	struct sp_node *node, *spare;

	if (!sp) {
		if (!policy)
			return 0;
		sp = ps_zalloc(sizeof(*sp));
		if (!sp)
			return -ENOMEM;
		spin_lock_init(&sp->lock, LEAF_LOCK);
		inode->i_policy = sp;
	}
	spare = sp_alloc(first, first, NULL);
	node = policy ? sp_alloc(first, first + nr - 1, policy) : NULL;
	if (!spare || (policy && !node)) {
		sp_free(spare);
		sp_free(node);
		return -ENOMEM;
	}
	spin_lock(&sp->lock);
	sp_cut(sp, first, first + nr - 1, &spare);
	if (node)
		interval_tree_insert(&node->node, &sp->ranges);
	spin_unlock(&sp->lock);
	sp_free(spare);
	return 0;
}

const struct mempolicy *mpol_shared_policy_lookup(struct inode *inode, pgoff_t index)
{
	struct shared_policy *sp = inode->i_policy;
	struct interval_tree_node *found = NULL;

	if (sp) {
		spin_lock(&sp->lock);
		found = interval_tree_iter_first(&sp->ranges, index, index);
		spin_unlock(&sp->lock);
	}
	return found ? container_of(found, struct sp_node, node)->policy : NULL;
}

void mpol_free_shared_policy(struct inode *inode)
{
	struct shared_policy *sp = inode->i_policy;
	struct interval_tree_node *node;

	if (!sp)
		return;
	while ((node = interval_tree_first(&sp->ranges))) {
		interval_tree_remove(node, &sp->ranges);
		sp_free(container_of(node, struct sp_node, node));
	}
	while (sp->retired) {
		struct sp_node *n = sp->retired;

		sp->retired = n->next;
		sp_free(n);
	}
	ps_free(sp);
	inode->i_policy = NULL;
}

const struct mempolicy *get_vma_policy(const struct vm_area_struct *vma, u64 addr)
{
	const struct mempolicy *pol = NULL;

	if (vma) {
		if (vma->vm_mapping && vma->vm_mapping->host->kind == PS_FILE_TMPFS)
			pol = mpol_shared_policy_lookup(vma->vm_mapping->host, linear_page_index(vma, addr));
		else
			pol = vma->vm_policy;
	}
	return pol ? pol : get_task_policy(current);
}

/* The n-th node of a mask, counting around. */
static nid_t nth_node_of(const nodemask_t *nodes, u64 n)
{
	u64 k = n % (u64)nodes_weight(*nodes);
	nid_t nid;

	for_each_node_mask(nid, *nodes) if (!k--) return nid;
	return NUMA_NO_NODE;
}

static bool interleaves(const struct mempolicy *pol)
{
	return pol->mode == MPOL_INTERLEAVE || pol->mode == MPOL_WEIGHTED_INTERLEAVE;
}

static u64 weight_of(nid_t nid)
{
	u8 weight = READ_ONCE(this_machine()->interleave_weight[nid]);

	return weight ? weight : 1;
}

/* The n-th place in a row where each node stands as often as its weight says. */
static nid_t weighted_nth_node_of(const nodemask_t *nodes, u64 n)
{
	u64 total = 0, weight;
	nid_t nid;

	for_each_node_mask(nid, *nodes) total += weight_of(nid);
	n %= total;
	/* Should a weight become smaller meanwhile, the row ends early: then it begins anew. */
	for (nid = first_node(*nodes); n >= (weight = weight_of(nid)); nid = next_node_in(nid, *nodes))
		n -= weight;
	return nid;
}

/* The task's next node. Fidelity: exact, interleave_nodes() and weighted_interleave_nodes(). */
static nid_t next_interleave_node(const struct mempolicy *pol)
{
	struct task_struct *me = current;

	if (pol->mode == MPOL_INTERLEAVE) {
		me->il_prev = next_node_in(me->il_prev, pol->nodes);
		return me->il_prev;
	}
	if (!me->il_weight || !node_isset(me->il_prev, pol->nodes)) {
		me->il_prev = next_node_in(me->il_prev, pol->nodes);
		me->il_weight = (unsigned int)weight_of(me->il_prev);
	}
	me->il_weight--;
	return me->il_prev;
}

static nid_t interleave_at(const struct mempolicy *pol, u64 position)
{
	if (pol->mode == MPOL_WEIGHTED_INTERLEAVE)
		return weighted_nth_node_of(&pol->nodes, position);
	/* The kernel counts plain interleave in an unsigned int. */
	return nth_node_of(&pol->nodes, (u32)position);
}

nid_t interleave_nid(const struct mempolicy *pol, const struct vm_area_struct *vma, u64 addr, unsigned int order)
{
	return interleave_at(pol, (vma->vm_pgoff >> order) + ((addr - vma->vm_start) >> (PAGE_SHIFT + order)));
}

/* The node to try first, and the nodes allowed at all (NULL: every node). */
static nid_t policy_node(const struct mempolicy *pol, nid_t local)
{
	return pol->mode == MPOL_PREFERRED ? first_node(pol->nodes) : local;
}

static const nodemask_t *policy_nodemask(const struct mempolicy *pol)
{
	return pol->mode == MPOL_BIND ? &pol->nodes : NULL;
}

static struct page *alloc_by_policy(gfp_t gfp, unsigned int order, const struct mempolicy *pol, nid_t interleave,
				    bool hugepage)
{
	const nodemask_t *allowed = policy_nodemask(pol);
	nid_t nid = policy_node(pol, numa_node_id());
	struct page *page;

	if (interleaves(pol)) {
		page = __alloc_pages(gfp, order, interleave, NULL);
		if (page && page_to_nid(page) == interleave)
			count_numa_events(interleave, NUMA_INTERLEAVE_HIT, 1);
		return page;
	}
	if (hugepage && (!allowed || node_isset(nid, *allowed))) {
		/* A huge page far away is worth less than small pages nearby: only compact for it here. */
		page = __alloc_pages(gfp | __GFP_THISNODE | __GFP_NORETRY, order, nid, NULL);
		if (page || !(gfp & __GFP_DIRECT_RECLAIM))
			return page;
		return __alloc_pages(gfp, order, nid, allowed);
	}
	return __alloc_pages(gfp, order, nid, allowed);
}

struct page *alloc_pages_vma(gfp_t gfp, unsigned int order, const struct vm_area_struct *vma, u64 addr, bool hugepage)
{
	const struct mempolicy *pol = get_vma_policy(vma, addr);
	nid_t interleave = interleaves(pol) ? interleave_nid(pol, vma, addr, order) : NUMA_NO_NODE;

	return alloc_by_policy(gfp, order, pol, interleave, hugepage);
}

struct page *alloc_pages_policy(gfp_t gfp, unsigned int order, const struct mempolicy *pol, u64 index, bool hugepage)
{
	nid_t interleave = NUMA_NO_NODE;

	if (interleaves(pol))
		interleave =
			index == NO_INTERLEAVE_INDEX ? next_interleave_node(pol) : interleave_at(pol, index >> order);

	return alloc_by_policy(gfp, order, pol, interleave, hugepage);
}

/* The nearest node of the mask, seen from the running CPU, as an allocation would find it. */
static nid_t nearest_of(const nodemask_t *nodes)
{
	const struct zonelist *list = &NODE_DATA(numa_node_id())->node_zonelists[ZONELIST_FALLBACK];
	int i;

	for (i = 0; i < list->nr; i++)
		if (node_isset(list->zones[i]->node, *nodes))
			return list->zones[i]->node;
	return NUMA_NO_NODE;
}

nid_t mpol_misplaced(nid_t nid, const struct vm_area_struct *vma, u64 addr)
{
	const struct mempolicy *pol = get_vma_policy(vma, addr);
	nid_t want;

	switch (pol->mode) {
	case MPOL_INTERLEAVE:
	case MPOL_WEIGHTED_INTERLEAVE:
		want = interleave_nid(pol, vma, addr, 0);
		break;
	case MPOL_PREFERRED:
		if (node_isset(nid, pol->nodes))
			return NUMA_NO_NODE;
		want = first_node(pol->nodes);
		break;
	case MPOL_BIND:
		if (node_isset(nid, pol->nodes))
			return NUMA_NO_NODE;
		want = nearest_of(&pol->nodes);
		break;
	default:
		/* Local: the page should be where the task is. Whether it may move for that is the NUMA policy's business. */
		want = numa_node_id();
		break;
	}
	return want == nid ? NUMA_NO_NODE : want;
}

void mpol_nodes(const struct mempolicy *pol, nodemask_t *nodes)
{
	if (pol && pol->mode != MPOL_LOCAL && pol->mode != MPOL_DEFAULT)
		*nodes = pol->nodes;
	else
		*nodes = this_machine()->memory_nodes;
}
