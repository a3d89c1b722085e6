/* SPDX-License-Identifier: MIT */
/*
 * Making, cutting, joining and removing VMAs.
 *
 * A VMA's range is changed in one place, vma_move_ends(): it leaves the trees it is in (address space, file, anon_vmas), the
 * range changes, it goes back in. Who finds it through a tree meanwhile holds that tree's lock and so sees it before or after.
 *
 * Joining: a range gets attributes (flags, policy) equal to those of a neighbour that continues it in file and address.
 * There are three shapes, told apart by which neighbours match:
 *
 *        prev | range | next        prev absorbs range, and next too if both match
 *        prev grows over range      prev matches only
 *        next grows down            next matches only
 */
#include <pagesim/mmap.h>

#include <pagesim/address_space.h>
#include <pagesim/alloc.h>
#include <pagesim/bug.h>
#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mempolicy.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/zap.h>

#include "fault/vm_fault.h"

/* ---- a VMA's place in its trees */

static void file_tree_insert(struct vm_area_struct *vma)
{
	vma->shared.start = vma->vm_pgoff;
	vma->shared.last = vma->vm_pgoff + vma_pages(vma) - 1;
	interval_tree_insert(&vma->shared, &vma->vm_mapping->i_mmap);
}

static void vma_link(struct vm_area_struct *vma)
{
	struct address_space *mapping = vma->vm_mapping;

	if (mapping)
		i_mmap_lock_write(mapping);
	vma_link_tree(vma);
	if (mapping) {
		file_tree_insert(vma);
		i_mmap_unlock_write(mapping);
	}
}

static void vma_unlink_file(struct vm_area_struct *vma)
{
	struct address_space *mapping = vma->vm_mapping;

	if (!mapping)
		return;
	i_mmap_lock_write(mapping);
	interval_tree_remove(&vma->shared, &mapping->i_mmap);
	i_mmap_unlock_write(mapping);
}

static void remove_vma(struct vm_area_struct *vma)
{
	struct address_space *mapping = vma->vm_mapping;

	vm_area_free(vma);
	if (mapping)
		iput(mapping->host);
}

/* The trees that reverse mapping walks: locked together while ranges change, so that no page is in no VMA for a moment. */
static void rmap_trees_lock(struct address_space *mapping, struct anon_vma *anon_vma)
{
	if (mapping)
		i_mmap_lock_write(mapping);
	if (anon_vma)
		anon_vma_lock_write(anon_vma);
}

static void rmap_trees_unlock(struct address_space *mapping, struct anon_vma *anon_vma)
{
	if (anon_vma)
		anon_vma_unlock_write(anon_vma);
	if (mapping)
		i_mmap_unlock_write(mapping);
}

/* Moves the ends of a VMA, in everything it is in. Context: mmap_lock for writing, its rmap trees locked. */
static void vma_move_ends(struct vm_area_struct *vma, u64 start, u64 end, pgoff_t pgoff)
{
	anon_vma_interval_tree_pre_update_vma(vma);
	if (vma->vm_mapping)
		interval_tree_remove(&vma->shared, &vma->vm_mapping->i_mmap);
	interval_tree_remove(&vma->vm_node, &vma->vm_mm->mm_vmas);

	vma->vm_start = start;
	vma->vm_end = end;
	vma->vm_pgoff = pgoff;

	vma->vm_node.start = start;
	vma->vm_node.last = end - 1;
	interval_tree_insert(&vma->vm_node, &vma->vm_mm->mm_vmas);
	if (vma->vm_mapping)
		file_tree_insert(vma);
	anon_vma_interval_tree_post_update_vma(vma);
}

static pgoff_t pgoff_at(const struct vm_area_struct *vma, u64 addr)
{
	return vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT);
}

int split_vma(struct vm_area_struct *vma, u64 addr, bool new_below)
{
	struct vm_area_struct *fresh = vm_area_dup(vma);
	int error;

	VM_BUG_ON(addr <= vma->vm_start || addr >= vma->vm_end);
	if (!fresh)
		return -ENOMEM;
	if (new_below) {
		fresh->vm_end = addr;
	} else {
		fresh->vm_pgoff = pgoff_at(vma, addr);
		fresh->vm_start = addr;
	}
	fresh->anon_vma = vma->anon_vma;
	error = anon_vma_clone(fresh, vma);
	if (error) {
		vm_area_free(fresh);
		return error;
	}
	if (vma->vm_mapping)
		ihold(vma->vm_mapping->host);
	vma_adjust_trans_huge(vma, addr, vma->vm_end);
	rmap_trees_lock(vma->vm_mapping, vma->anon_vma);
	if (new_below)
		vma_move_ends(vma, addr, vma->vm_end, pgoff_at(vma, addr));
	else
		vma_move_ends(vma, vma->vm_start, addr, vma->vm_pgoff);
	vma_link_tree(fresh);
	if (fresh->vm_mapping)
		file_tree_insert(fresh);
	rmap_trees_unlock(vma->vm_mapping, vma->anon_vma);
	return 0;
}

/* ---- joining */

static bool anon_vmas_mergeable(const struct anon_vma *a, const struct anon_vma *b, const struct vm_area_struct *vma)
{
	/* The one without takes the other's, unless that was forked: then its chain is a family's, not one VMA's. */
	if ((!a || !b) && (!vma || list_is_singular(&vma->anon_vma_chain)))
		return true;
	return a == b;
}

static bool same_attributes(const struct vm_area_struct *vma, const struct address_space *mapping,
			    const struct vma_attributes *attributes)
{
	return !((vma->vm_flags ^ attributes->vm_flags) & ~VM_SOFTDIRTY) && vma->vm_mapping == mapping &&
	       mpol_equal(vma->vm_policy, attributes->policy);
}

/* Drops a VMA that another one has swallowed. */
static void vma_swallowed(struct vm_area_struct *vma)
{
	vma_unlink_file(vma);
	vma_unlink_tree(vma);
	unlink_anon_vmas(vma);
	remove_vma(vma);
}

/*
 * vma_merge(): [addr, end) of file `mapping` at pgoff, with these attributes, anon_vma as given: can it be part of prev or
 * next? The range is empty, or `self` lies exactly over it and is swallowed, or is part of self (then it leaves self).
 * Return: the VMA that now covers the range, or NULL.
 */
static struct vm_area_struct *vma_merge(struct mm_struct *mm, struct vm_area_struct *prev, struct vm_area_struct *self,
					u64 addr, u64 end, struct address_space *mapping, pgoff_t pgoff,
					struct anon_vma *anon_vma, const struct vma_attributes *attributes)
{
	struct vm_area_struct *next = self ? (self->vm_end == end ? vma_next(self) : NULL) : find_vma(mm, addr);
	u64 npages = (end - addr) >> PAGE_SHIFT;
	bool with_prev, with_next;
	struct vm_area_struct *grown, *donor = NULL, *swallowed = NULL;

	with_prev = prev && prev->vm_end == addr && same_attributes(prev, mapping, attributes) &&
		    (self ? self->vm_start == addr : true) && prev->vm_pgoff + vma_pages(prev) == pgoff &&
		    anon_vmas_mergeable(anon_vma, prev->anon_vma, prev);
	with_next = next && next->vm_start == end && same_attributes(next, mapping, attributes) &&
		    pgoff + npages == next->vm_pgoff && anon_vmas_mergeable(anon_vma, next->anon_vma, next);
	if (with_prev && with_next && !anon_vmas_mergeable(prev->anon_vma, next->anon_vma, NULL))
		with_next = false;
	if (!with_prev && !with_next)
		return NULL;

	grown = with_prev ? prev : next;
	/* Pages of the swallowed parts must find their mapping through the VMA that grows. */
	VM_BUG_ON(!grown->anon_vma && self && self->anon_vma); /* anon_vmas_mergeable() forbids it */
	if (!grown->anon_vma && with_prev && with_next && next->anon_vma)
		donor = next;
	if (donor) {
		grown->anon_vma = donor->anon_vma;
		if (anon_vma_clone(grown, donor))
			return NULL;
	}
	if (self)
		vma_adjust_trans_huge(self, addr, end);
	rmap_trees_lock(mapping, grown->anon_vma);
	if (self && self->vm_start != addr)
		vma_move_ends(self, self->vm_start, addr, self->vm_pgoff);
	else if (self && self->vm_end != end)
		vma_move_ends(self, end, self->vm_end, pgoff_at(self, end));
	else
		swallowed = self;
	if (with_prev)
		vma_move_ends(prev, prev->vm_start, with_next ? next->vm_end : end, prev->vm_pgoff);
	else
		vma_move_ends(next, addr, next->vm_end, pgoff);
	rmap_trees_unlock(mapping, grown->anon_vma);
	/* For a moment a page may be found through two VMAs, at one address: harmless. */
	if (swallowed)
		vma_swallowed(swallowed);
	if (with_prev && with_next)
		vma_swallowed(next);
	return grown;
}

int vma_modify(struct vm_area_struct *vma, u64 start, u64 end, const struct vma_attributes *attributes,
	       struct vm_area_struct **ret_vma)
{
	struct vm_area_struct *merged;
	int error;

	merged = vma_merge(vma->vm_mm, start == vma->vm_start ? vma_prev(vma) : vma, vma, start, end, vma->vm_mapping,
			   pgoff_at(vma, start), vma->anon_vma, attributes);
	if (merged) {
		*ret_vma = merged;
		return 0;
	}
	if (start != vma->vm_start) {
		error = split_vma(vma, start, true);
		if (error)
			return error;
	}
	if (end != vma->vm_end) {
		error = split_vma(vma, end, false);
		if (error)
			return error;
	}
	*ret_vma = vma;
	return 0;
}

/* ---- mmap */

static u64 vm_flags_of(unsigned int prot, unsigned int flags)
{
	u64 vm_flags = VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | calc_vm_prot_bits(prot);

	if (flags & MM_MAP_SHARED)
		vm_flags |= VM_SHARED | VM_MAYSHARE;
	/* What nobody can write through needs none of the care that shared writing needs. */
	if ((flags & MM_MAP_SHARED) && (flags & MM_MAP_FILE_READ_ONLY))
		vm_flags &= ~(u64)(VM_SHARED | VM_MAYWRITE);
	/* What may need memory of its own is accounted; this decides which VMAs can merge. */
	if ((vm_flags & (VM_SHARED | VM_WRITE)) == VM_WRITE)
		vm_flags |= VM_ACCOUNT;
	return vm_flags;
}

static int check_range(const struct mm_struct *mm, u64 addr, u64 *len)
{
	if (addr & ~PAGE_MASK)
		return -EINVAL;
	if (!*len)
		return -EINVAL;
	*len = (*len + PAGE_SIZE - 1) & PAGE_MASK;
	if (!*len || *len > task_size(&mm->pt) || addr > task_size(&mm->pt) - *len)
		return -ENOMEM;
	return 0;
}

/*
 * Context: mmap_lock for writing.
 * @ret_downgraded: NULL, or the lock may end up held for reading only; whether it is, comes back here.
 */
static int unmap_locked(struct mm_struct *mm, u64 start, u64 end, bool *ret_downgraded);

int do_mmap(struct mm_struct *mm, u64 addr, u64 len, unsigned int prot, unsigned int flags, struct inode *inode,
	    pgoff_t pgoff)
{
	struct vma_attributes attributes = { .vm_flags = vm_flags_of(prot, flags) };
	struct inode *shmem = NULL;
	struct vm_area_struct *vma, *prev;
	struct address_space *mapping;
	int error = check_range(mm, addr, &len);

	if (error)
		return error;
	ps_charge(this_machine()->costs.syscall_ns, PS_TIME_SYSCALL);
	if (inode && (flags & MM_MAP_SHARED) && (flags & MM_MAP_FILE_READ_ONLY) && (prot & MM_PROT_WRITE))
		return -EACCES;
	mmap_write_lock(mm);
	if (find_vma_intersection(mm, addr, addr + len)) {
		if (!(flags & MM_MAP_FIXED)) {
			error = flags & MM_MAP_FIXED_NOREPLACE ? -EEXIST : -ENOMEM;
			goto out_unlock;
		}
		error = unmap_locked(mm, addr, addr + len, NULL);
		if (error)
			goto out_unlock;
	}
	if (!inode && (flags & MM_MAP_SHARED)) {
		error = shmem_file_setup(mm->machine->files, len, &shmem);
		if (error)
			goto out_unlock;
		inode = shmem;
		pgoff = 0;
	} else if (!inode) {
		pgoff = addr >> PAGE_SHIFT;
	}
	mapping = inode ? inode->i_mapping : NULL;

	vma = find_vma(mm, addr);
	prev = vma ? vma_prev(vma)
		   : (list_empty(&mm->mmap) ? NULL : list_last_entry(&mm->mmap, struct vm_area_struct, vm_link));
	vma = vma_merge(mm, prev, NULL, addr, addr + len, mapping, pgoff, NULL, &attributes);
	if (!vma) {
		vma = vm_area_alloc(mm);
		if (!vma) {
			error = -ENOMEM;
			goto out_put;
		}
		vma->vm_start = addr;
		vma->vm_end = addr + len;
		vma->vm_flags = attributes.vm_flags;
		vma->vm_pgoff = pgoff;
		vma->vm_mapping = mapping;
		if (inode)
			ihold(inode);
		vma_link(vma);
	}
	vma->vm_flags |= VM_SOFTDIRTY;
	vma_set_page_prot(vma);
out_put:
	if (shmem)
		iput(shmem);
out_unlock:
	mmap_write_unlock(mm);
	if (!error && (flags & MM_MAP_POPULATE))
		mm_populate(mm, addr, len);
	return error;
}

/* ---- munmap */

/*
 * Unmaps the VMAs of the list (already out of the tree), frees the tables that nobody else needs, and them. From here on the
 * lock for reading does: no one finds these VMAs any more, and none can be made in their place.
 */
static void unmap_region(struct mm_struct *mm, struct list_head *detached, u64 start, u64 end, bool downgrade)
{
	struct vm_area_struct *vma, *safe, *next = find_vma(mm, end), *prev;
	struct mmu_gather tlb;
	u64 floor, ceiling;

	prev = next ? vma_prev(next)
		    : (list_empty(&mm->mmap) ? NULL : list_last_entry(&mm->mmap, struct vm_area_struct, vm_link));
	floor = prev ? prev->vm_end : 0;
	ceiling = next ? next->vm_start : task_size(&mm->pt);
	if (downgrade)
		mmap_write_downgrade(mm);
	lru_add_drain();
	tlb_gather_mmu(&tlb, mm);
	list_for_each_entry(vma, detached, vm_link)
		unmap_page_range(&tlb, vma, ps_max(start, vma->vm_start), ps_min(end, vma->vm_end), NULL);
	/* Out of reverse mapping first: nobody may walk tables that are about to go. */
	list_for_each_entry(vma, detached, vm_link) {
		unlink_anon_vmas(vma);
		vma_unlink_file(vma);
	}
	tlb_remove_tables(&tlb, start, end, floor, ceiling);
	tlb_finish_mmu(&tlb);
	list_for_each_entry_safe(vma, safe, detached, vm_link)
		remove_vma(vma);
}

static int unmap_locked(struct mm_struct *mm, u64 start, u64 end, bool *ret_downgraded)
{
	struct vm_area_struct *vma, *next;
	LIST_HEAD(detached);
	int error;

	vma = find_vma_intersection(mm, start, end);
	if (!vma)
		return 0;
	if (start > vma->vm_start) {
		error = split_vma(vma, start, true);
		if (error)
			return error;
	}
	vma = find_vma(mm, end - 1);
	if (vma && vma->vm_start < end && vma->vm_end > end) {
		error = split_vma(vma, end, false);
		if (error)
			return error;
	}
	for (vma = find_vma_intersection(mm, start, end); vma && vma->vm_start < end; vma = next) {
		next = vma_next(vma);
		vma_unlink_tree(vma);
		list_add_tail(&vma->vm_link, &detached);
	}
	unmap_region(mm, &detached, start, end, ret_downgraded != NULL);
	if (ret_downgraded)
		*ret_downgraded = true;
	return 0;
}

int do_munmap(struct mm_struct *mm, u64 start, u64 len)
{
	int error = check_range(mm, start, &len);
	bool downgraded = false;

	if (error)
		return -EINVAL;
	ps_charge(this_machine()->costs.syscall_ns, PS_TIME_SYSCALL);
	mmap_write_lock(mm);
	error = unmap_locked(mm, start, start + len, &downgraded);
	if (downgraded)
		mmap_read_unlock(mm);
	else
		mmap_write_unlock(mm);
	return error;
}

int do_brk(struct mm_struct *mm, u64 start, u64 old_end, u64 end)
{
	u64 from, to;

	start = (start + PAGE_SIZE - 1) & PAGE_MASK;
	from = ps_max(start, (old_end + PAGE_SIZE - 1) & PAGE_MASK);
	to = ps_max(start, (end + PAGE_SIZE - 1) & PAGE_MASK);
	if (to > from)
		return do_mmap(mm, from, to - from, MM_PROT_READ | MM_PROT_WRITE, MM_MAP_FIXED_NOREPLACE, NULL, 0);
	if (to < from)
		return do_munmap(mm, to, from - to);
	return 0;
}

/* ---- the end of an address space */

void exit_mmap(struct mm_struct *mm)
{
	struct vm_area_struct *vma, *next;
	LIST_HEAD(detached);

	mmap_write_lock(mm);
	for (vma = find_vma(mm, 0); vma; vma = next) {
		next = vma_next(vma);
		vma_unlink_tree(vma);
		list_add_tail(&vma->vm_link, &detached);
	}
	unmap_region(mm, &detached, 0, task_size(&mm->pt), false);
	mmap_write_unlock(mm);
	mm_put_huge_zero_page(mm);
}

void mmget(struct mm_struct *mm)
{
	atomic_inc(&mm->mm_users);
}

bool mmget_not_zero(struct mm_struct *mm)
{
	return atomic_inc_not_zero(&mm->mm_users);
}

void mmput(struct mm_struct *mm)
{
	if (!atomic_dec_and_test(&mm->mm_users))
		return;
	exit_mmap(mm);
	flush_tlb_mm(&mm->pt);
	mm_free(mm);
}

/* ---- mremap */

/*
 * Moves the entries of one table's worth of pages.
 * Reverse mapping must find each page through one of the two VMAs at every moment. The walk visits the copy after the
 * original, because it was chained later; a migration entry may be set at the old place after the walk has passed the new one
 * only if the trees' order is the other way around, and then need_rmap_locks is set.
 */
static void move_ptes(struct vm_area_struct *vma, pmd_t *old_pmd, u64 old_addr, u64 old_end, pmd_t *new_pmd,
		      u64 new_addr)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	spinlock_t *old_ptl, *new_ptl;
	u64 start = old_addr;
	bool force_flush = false;
	pte_t *old_pte, *new_pte;

	old_pte = pte_offset_map_lock(pt, old_pmd, old_addr, &old_ptl);
	new_pte = pte_offset_map(pt, *new_pmd, new_addr);
	new_ptl = pte_lockptr(pt, *new_pmd);
	if (new_ptl != old_ptl)
		spin_lock_nested(new_ptl, 1);
	for (; old_addr < old_end; old_addr += PAGE_SIZE, old_pte++, new_pte++) {
		pte_t pte;

		if (pte_none(*old_pte))
			continue;
		pte = ptep_get_and_clear(old_pte);
		if (pte_present(pte)) {
			/* The old place may be written through the TLB until it is flushed: not after the lock is dropped. */
			force_flush = true;
			pte = pte_mksoft_dirty(pte);
		} else {
			pte = pte_swp_mksoft_dirty(pte);
		}
		set_pte_at(new_pte, pte);
	}
	if (force_flush)
		flush_tlb_range(pt, start, old_end);
	if (new_ptl != old_ptl)
		spin_unlock(new_ptl);
	spin_unlock(old_ptl);
}

/* Moves a huge PMD, or a whole table of PTEs, as it is. Return: true if it was moved. */
static bool move_pmd(struct vm_area_struct *vma, u64 old_addr, pmd_t *old_pmd, pmd_t *new_pmd)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	spinlock_t *old_ptl = pmd_lock(pt, old_pmd), *new_ptl = pmd_lockptr(pt, new_pmd);
	bool moved = false;
	pmd_t pmd;

	if (new_ptl != old_ptl)
		spin_lock_nested(new_ptl, 1);
	if (pmd_none(*new_pmd) && !pmd_none(*old_pmd)) {
		pmd = pmdp_get_and_clear(old_pmd);
		if (pmd_leaf_or_swap(pmd)) {
			if (vma_is_anonymous(vma) && new_ptl != old_ptl)
				pgtable_trans_huge_deposit(pt, new_pmd, pgtable_trans_huge_withdraw(pt, old_pmd));
			pmd = pmd_present(pmd) ? pmd_mksoft_dirty(pmd) : pmd_swp_mksoft_dirty(pmd);
		}
		set_pmd_at(new_pmd, pmd);
		flush_tlb_range(pt, old_addr, old_addr + pmd_size(pt));
		moved = true;
	}
	if (new_ptl != old_ptl)
		spin_unlock(new_ptl);
	spin_unlock(old_ptl);
	return moved;
}

/* Return: bytes moved; less than len when out of memory. */
static u64 move_page_tables(struct vm_area_struct *vma, u64 old_addr, u64 new_addr, u64 len, bool need_rmap_locks)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 start = old_addr, old_end = old_addr + len;

	while (old_addr < old_end) {
		u64 next = ps_min(pmd_addr_end(pt, old_addr, old_end),
				  old_addr + (pmd_addr_end(pt, new_addr, new_addr + (old_end - old_addr)) - new_addr));
		pmd_t *old_pmd = pmd_find(pt, old_addr), *new_pmd;
		bool whole = next - old_addr == pmd_size(pt);

		if (!old_pmd || pmd_none(pmdp_get(old_pmd)))
			goto next;
		new_pmd = pmd_alloc(pt, new_addr);
		if (!new_pmd)
			break;
		if (whole) {
			/* A whole table of PTEs moves at once: nobody may be walking it. */
			bool lock = need_rmap_locks || pmd_table(pmdp_get(old_pmd)), moved;

			if (lock)
				rmap_trees_lock(vma->vm_mapping, vma->anon_vma);
			moved = move_pmd(vma, old_addr, old_pmd, new_pmd);
			if (lock)
				rmap_trees_unlock(vma->vm_mapping, vma->anon_vma);
			if (moved)
				goto next;
		}
		split_huge_pmd(vma, old_pmd, old_addr);
		if (!pmd_table(pmdp_get(old_pmd)))
			continue;
		if (pte_alloc(pt, new_pmd))
			break;
		if (need_rmap_locks)
			rmap_trees_lock(vma->vm_mapping, vma->anon_vma);
		move_ptes(vma, old_pmd, old_addr, next, new_pmd, new_addr);
		if (need_rmap_locks)
			rmap_trees_unlock(vma->vm_mapping, vma->anon_vma);
	next:
		new_addr += next - old_addr;
		old_addr = next;
		cond_resched();
	}
	return old_addr - start;
}

/*
 * The VMA at the new place, merged with a neighbour if it continues it. The neighbour may be the old VMA itself (only while
 * it was never touched): then *vmap is the merged one afterwards.
 */
static struct vm_area_struct *copy_vma(struct vm_area_struct **vmap, u64 addr, u64 len, pgoff_t pgoff,
				       bool *need_rmap_locks)
{
	struct vm_area_struct *vma = *vmap;
	u64 old_start = vma->vm_start;
	struct vma_attributes attributes = { .vm_flags = vma->vm_flags, .policy = vma->vm_policy };
	struct mm_struct *mm = vma->vm_mm;
	struct vm_area_struct *next, *prev, *fresh;

	/* Memory never touched can forget where it was born; pages that exist remember it by their index. */
	if (vma_is_anonymous(vma) && !vma->anon_vma)
		pgoff = addr >> PAGE_SHIFT;
	next = find_vma(mm, addr);
	prev = next ? vma_prev(next) : list_last_entry(&mm->mmap, struct vm_area_struct, vm_link);
	fresh = vma_merge(mm, prev, NULL, addr, addr + len, vma->vm_mapping, pgoff, vma->anon_vma, &attributes);
	if (fresh) {
		if (old_start >= fresh->vm_start && old_start < fresh->vm_end)
			*vmap = vma = fresh;
		*need_rmap_locks = fresh->vm_pgoff <= vma->vm_pgoff;
		if (!fresh->anon_vma && vma->anon_vma) {
			fresh->anon_vma = vma->anon_vma;
			if (anon_vma_clone(fresh, vma))
				return NULL;
		}
		return fresh;
	}
	fresh = vm_area_dup(vma);
	if (!fresh)
		return NULL;
	fresh->vm_start = addr;
	fresh->vm_end = addr + len;
	fresh->vm_pgoff = pgoff;
	fresh->anon_vma = vma->anon_vma;
	if (anon_vma_clone(fresh, vma)) {
		vm_area_free(fresh);
		return NULL;
	}
	if (vma->vm_mapping)
		ihold(vma->vm_mapping->host);
	vma_link(fresh);
	*need_rmap_locks = false;
	return fresh;
}

int do_mremap(struct mm_struct *mm, u64 old_addr, u64 len, u64 new_addr)
{
	struct vm_area_struct *vma, *fresh;
	bool need_rmap_locks = false;
	u64 moved;
	int error = check_range(mm, old_addr, &len);

	if (error)
		return -EINVAL;
	ps_charge(this_machine()->costs.syscall_ns, PS_TIME_SYSCALL);
	mmap_write_lock(mm);
	error = -EFAULT;
	if (!vma_lookup(mm, old_addr))
		goto out;
	error = -EINVAL;
	if (check_range(mm, new_addr, &len) || (old_addr + len > new_addr && new_addr + len > old_addr))
		goto out;
	error = unmap_locked(mm, new_addr, new_addr + len, NULL);
	if (error)
		goto out;
	error = -EFAULT;
	vma = vma_lookup(mm, old_addr);
	if (!vma || len > vma->vm_end - old_addr)
		goto out;
	error = -ENOMEM;
	fresh = copy_vma(&vma, new_addr, len, pgoff_at(vma, old_addr), &need_rmap_locks);
	if (!fresh)
		goto out;
	moved = move_page_tables(vma, old_addr, new_addr, len, need_rmap_locks);
	if (moved < len) {
		/* Out of memory half way: move back what went, and take the new place away. */
		move_page_tables(fresh, new_addr, old_addr, moved, true);
		unmap_locked(mm, new_addr, new_addr + len, NULL);
		error = -ENOMEM;
		goto out;
	}
	vma_set_page_prot(fresh);
	/* The pages are at the new place, so the call has succeeded, even if the empty old one cannot be cut out. */
	unmap_locked(mm, old_addr, old_addr + len, NULL);
	error = 0;
out:
	mmap_write_unlock(mm);
	return error;
}
