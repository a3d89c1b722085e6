/* SPDX-License-Identifier: MIT */
/*
 * Memory policies: which node a new page should come from. A policy belongs to a task, to a VMA, or to a range of a
 * shared file; the most specific one wins. Policies are immutable once made and counted by reference, so a VMA split
 * shares its policy and comparing two VMAs compares contents.
 *
 * Fidelity: each function says its own. None knows cpusets, home nodes, relative or static node masks, MPOL_PREFERRED_MANY.
 *
 * Layer: vm
 */
#ifndef PAGESIM_MEMPOLICY_H
#define PAGESIM_MEMPOLICY_H

#include <pagesim/atomic.h>
#include <pagesim/bitmap.h>
#include <pagesim/nodemask.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct inode;
struct page;
struct task_struct;
struct vm_area_struct;

enum mempolicy_mode {
	MPOL_DEFAULT, /* no policy of its own: fall back to the next more general one */
	MPOL_PREFERRED,
	MPOL_BIND,
	MPOL_INTERLEAVE,
	MPOL_LOCAL, /* what the system default is: the node of the allocating CPU */
};

struct mempolicy {
	atomic_t refcnt;
	enum mempolicy_mode mode;
	nodemask_t nodes; /* empty for MPOL_LOCAL */
};

/**
 * Makes a policy.
 * @nodes: nodes named by the user; bits of absent nodes are dropped. MPOL_DEFAULT gives *ret_policy = NULL.
 * Return: 0; -EINVAL when no named node exists, or nodes are given with MPOL_DEFAULT; -ENOMEM. *ret_policy is untouched on error
 * and otherwise holds one reference owned by the caller.
 */
int mpol_new(enum mempolicy_mode mode, const nodemask_t *nodes, struct mempolicy **ret_policy);
static inline void mpol_get(struct mempolicy *pol)
{
	if (pol)
		atomic_inc(&pol->refcnt);
}
void mpol_put(struct mempolicy *pol);
bool mpol_equal(const struct mempolicy *a, const struct mempolicy *b);

/** set_mempolicy(2) for the current task. Return: 0, -EINVAL, -ENOMEM. */
int set_mempolicy(enum mempolicy_mode mode, const nodemask_t *nodes);

/** The policy of a task, or the system default; never NULL. Takes no reference: a task changes its policy itself. */
const struct mempolicy *get_task_policy(const struct task_struct *task);
/**
 * The policy of a shared file's pages, kept with the file: mbind on any mapping of tmpfs sets it, every mapper obeys it.
 * @policy: NULL takes the policy of the range away. Takes its own reference. Return: 0 or -ENOMEM.
 */
int mpol_set_shared_policy(struct inode *inode, pgoff_t first, u64 nr, struct mempolicy *policy);
/** Return: the policy of page `index`, or NULL. */
const struct mempolicy *mpol_shared_policy_lookup(struct inode *inode, pgoff_t index);
/** Frees what the file has; the cache's inode_free hook. */
void mpol_free_shared_policy(struct inode *inode);
/** The policy that rules an address: the file's, the VMA's, the current task's, the default; never NULL. */
const struct mempolicy *get_vma_policy(const struct vm_area_struct *vma, u64 addr);
/** The node an interleave policy gives to this address for a page of `order`. */
nid_t interleave_nid(const struct mempolicy *pol, const struct vm_area_struct *vma, u64 addr, unsigned int order);

/**
 * Allocates a page for a user address by its policy.
 * @hugepage: the allocation is for a transparent huge page: try the local node alone first.
 * Context: may sleep if gfp lets it.
 * Return: a page with one reference, or NULL.
 * Fidelity: exact; vma_alloc_folio().
 */
struct page *alloc_pages_vma(gfp_t gfp, unsigned int order, const struct vm_area_struct *vma, u64 addr, bool hugepage);
/** Allocates by an explicit policy; `index` is the interleave position. Used for pages of shared files. */
struct page *alloc_pages_policy(gfp_t gfp, unsigned int order, const struct mempolicy *pol, u64 index, bool hugepage);
/** The page was found on `nid`: where does the policy want it? Return: a node, or NUMA_NO_NODE when it may stay. */
nid_t mpol_misplaced(nid_t nid, const struct vm_area_struct *vma, u64 addr);
/** Nodes named by a policy: the nodes a page under it may be on (all nodes for default and local). */
void mpol_nodes(const struct mempolicy *pol, nodemask_t *nodes);

#ifdef __cplusplus
}
#endif
#endif
