/* SPDX-License-Identifier: MIT */
/*
 * mbind(2): a policy for a range, and on request the pages that break it are moved to where it wants them.
 *
 *   1. collect the pages that are on other nodes than those named
 *   2. give the VMAs (and the shared file) of the range the policy
 *   3. migrate what was collected, each page to where the policy of its place says
 */
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/gfp.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mem.h>
#include <pagesim/mempolicy.h>
#include <pagesim/mmap.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>

#include "engines/queue_pages.h"

/* ---- 1. collecting */

struct queue {
	const nodemask_t *nodes;
	unsigned int flags;
	bool unmovable; /* some page must move (MPOL_MF_STRICT) and could not be isolated */
	struct list_head *list;
};

static bool required(const struct queue *q, struct page *page)
{
	return node_isset(page_to_nid(page), *q->nodes) == !(q->flags & MPOL_MF_INVERT);
}

static bool moves(const struct queue *q)
{
	return q->flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL);
}

static int migrate_page_add(const struct queue *q, struct page *page)
{
	struct page *head = compound_head(page);

	/* What others use as well is theirs to keep. */
	if (!(q->flags & MPOL_MF_MOVE_ALL) && page_mapcount(head) != 1)
		return 0;
	if (!isolate_page_for_migration(head, q->list))
		return 0;
	return q->flags & MPOL_MF_STRICT ? -EIO : 0;
}

/* Context: the PMD lock. */
static int queue_huge(struct queue *q, pmd_t pmd)
{
	struct page *page;

	if (is_pmd_migration_entry(pmd))
		return -EIO;
	if (is_huge_zero_pmd(pmd))
		return 0;
	page = pfn_to_page(pmd_pfn(pmd));
	if (!required(q, page))
		return 0;
	if (!moves(q))
		return -EIO;
	if (migrate_page_add(q, page))
		q->unmovable = true;
	return 0;
}

static int queue_ptes(struct queue *q, struct vm_area_struct *vma, pmd_t *pmd, u64 addr, u64 end)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	spinlock_t *ptl;
	pte_t *ptep = pte_offset_map_lock(pt, pmd, addr, &ptl);

	for (; addr < end; addr += PAGE_SIZE, ptep++) {
		pte_t pte = *ptep;
		struct page *page;

		if (!pte_present(pte) || pte_special(pte))
			continue;
		page = pfn_to_page(pte_pfn(pte));
		if (!required(q, page))
			continue;
		if (!moves(q))
			break;
		if (migrate_page_add(q, page))
			q->unmovable = true; /* the others move all the same */
	}
	pte_unmap_unlock(ptep, ptl);
	return addr < end ? -EIO : 0;
}

static int queue_vma(struct queue *q, struct vm_area_struct *vma, u64 addr, u64 end)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	pmd_t *pmd;
	int ret;

	while ((pmd = pmd_next(pt, &addr, end))) {
		u64 next = pmd_addr_end(pt, addr, end);
		spinlock_t *ptl = pmd_trans_huge_lock(vma, pmd);

		ret = 0;
		if (ptl) {
			ret = queue_huge(q, *pmd);
			spin_unlock(ptl);
		} else if (pmd_table(pmdp_get(pmd))) {
			ret = queue_ptes(q, vma, pmd, addr, next);
			ps_charge((next - addr) / PAGE_SIZE * this_machine()->costs.scan_pte_ns, PS_TIME_SYSCALL);
		}
		if (ret)
			return ret;
		addr = next;
		cond_resched();
	}
	return 0;
}

int queue_pages_range(struct mm_struct *mm, u64 start, u64 end, const nodemask_t *nodes, unsigned int flags,
		      struct list_head *list)
{
	struct queue q = { .nodes = nodes, .flags = flags, .list = list };
	bool holes_ok = flags & MPOL_MF_DISCONTIG_OK;
	struct vm_area_struct *vma;
	bool any = false;
	int ret;

	for_each_vma_range(mm, vma, start, end) {
		struct vm_area_struct *next = vma_next(vma);

		if (!any && !holes_ok && start < vma->vm_start)
			return -EFAULT;
		any = true;
		if (!holes_ok && vma->vm_end < end && (!next || vma->vm_end < next->vm_start))
			return -EFAULT;
		if (!(flags & (MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)))
			continue;
		ret = queue_vma(&q, vma, ps_max(start, vma->vm_start), ps_min(end, vma->vm_end));
		if (ret)
			return ret;
	}
	if (!any)
		return -EFAULT;
	return q.unmovable ? 1 : 0;
}

/* ---- 2. the policy */

static int replace_policy(struct vm_area_struct *vma, struct mempolicy *policy)
{
	int error = 0;

	if (vma->vm_mapping && vma->vm_mapping->host->kind == PS_FILE_TMPFS)
		error = mpol_set_shared_policy(vma->vm_mapping->host, vma->vm_pgoff, vma_pages(vma), policy);
	if (error)
		return error;
	mpol_get(policy);
	mpol_put(vma->vm_policy);
	vma->vm_policy = policy;
	return 0;
}

static int mbind_range(struct mm_struct *mm, u64 start, u64 end, struct mempolicy *policy)
{
	u64 at = start;

	while (at < end) {
		struct vm_area_struct *vma = find_vma_intersection(mm, at, end);
		struct vma_attributes attributes = { .policy = policy };
		u64 from, to;
		int error;

		if (!vma)
			break;
		from = ps_max(at, vma->vm_start);
		to = ps_min(end, vma->vm_end);
		if (!mpol_equal(vma->vm_policy, policy)) {
			attributes.vm_flags = vma->vm_flags;
			error = vma_modify(vma, from, to, &attributes, &vma);
			if (!error)
				error = replace_policy(vma, policy);
			if (error)
				return error;
		}
		at = to;
	}
	return 0;
}

/* ---- 3. moving */

struct new_page_arg {
	struct mm_struct *mm;
	u64 start;
};

static u64 page_address_in_vma(struct page *page, struct vm_area_struct *vma)
{
	if (PageAnon(page)) {
		struct anon_vma *anon_vma = (struct anon_vma *)((unsigned long)page->mapping & ~PAGE_MAPPING_FLAGS);

		if (!vma->anon_vma || !anon_vma || vma->anon_vma->root != anon_vma->root)
			return U64_MAX;
	} else if (!vma->vm_mapping || vma->vm_mapping != page_mapping(page)) {
		return U64_MAX;
	}
	return vma_address(page, vma);
}

static struct page *new_page(struct page *page, void *opaque)
{
	struct new_page_arg *arg = opaque;
	unsigned int order = compound_order(page);
	gfp_t gfp = order ? GFP_TRANSHUGE : GFP_HIGHUSER_MOVABLE | __GFP_RETRY_MAYFAIL;
	struct vm_area_struct *vma;
	struct page *target;
	u64 addr = U64_MAX;

	for (vma = find_vma(arg->mm, arg->start); vma; vma = vma_next(vma)) {
		addr = page_address_in_vma(page, vma);
		if (addr != U64_MAX)
			break;
	}
	target = vma ? alloc_pages_vma(gfp, order, vma, addr, order > 0)
		     : alloc_pages_policy(gfp, order, get_task_policy(current), 0, order > 0);
	if (target && order)
		prep_transhuge_page(target);
	return target;
}

long ps_mbind(struct mm_struct *mm, u64 start, u64 len, int mode, const nodemask_t *nodes, unsigned int flags)
{
	bool move = flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL);
	struct new_page_arg arg = { .mm = mm, .start = start };
	struct mempolicy *policy = NULL;
	nodemask_t named;
	LIST_HEAD(list);
	long error;
	int queued;

	ps_charge(this_machine()->costs.syscall_ns, PS_TIME_SYSCALL);
	if (flags & ~(MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL))
		return -EINVAL;
	if ((flags & MPOL_MF_MOVE_ALL) && current->unprivileged)
		return -EPERM;
	if (start & ~PAGE_MASK)
		return -EINVAL;
	if (mode == MPOL_DEFAULT)
		flags &= ~MPOL_MF_STRICT;
	len = (len + PAGE_SIZE - 1) & PAGE_MASK;
	if (start + len < start)
		return -EINVAL;
	if (!len)
		return 0;
	error = mpol_new((enum mempolicy_mode)mode, nodes, &policy);
	if (error)
		return error;
	/* Taking policies away is fine across holes. */
	if (!policy)
		flags |= MPOL_MF_DISCONTIG_OK;
	nodes_clear(named);
	if (nodes)
		named = *nodes;
	if (move)
		lru_cache_disable();
	mmap_write_lock(mm);
	queued = queue_pages_range(mm, start, start + len, &named, flags | MPOL_MF_INVERT, &list);
	error = queued < 0 ? queued : mbind_range(mm, start, start + len, policy);
	if (!error) {
		int failed = 0;

		if (!list_empty(&list)) {
			failed = migrate_pages(&list, new_page, NULL, &arg, MIGRATE_SYNC, MR_MEMPOLICY_MBIND, NULL);
			if (failed)
				putback_movable_pages(&list);
		}
		if (queued > 0 || (failed && (flags & MPOL_MF_STRICT)))
			error = -EIO;
	} else {
		putback_movable_pages(&list);
	}
	mmap_write_unlock(mm);
	mpol_put(policy);
	if (move)
		lru_cache_enable();
	return error;
}
