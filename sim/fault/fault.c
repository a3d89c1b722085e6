/* SPDX-License-Identifier: MIT */
/*
 * Faults on small pages: first touch, the zero page, files, copy on write, NUMA hints, migration entries. What is in swap is
 * brought back by swapin.c.
 *
 * Every path has the same shape: look without the lock, do what may sleep (allocate, read, copy), take the page-table
 * lock, look again, and only if nothing changed set the entry. Who loses the race throws its work away and lets the access be
 * tried again.
 */
#include <pagesim/fault.h>

#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/contents.h>
#include <pagesim/gfp.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mem.h>
#include <pagesim/mempolicy.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/shmem.h>
#include <pagesim/swap_cache.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>
#include <pagesim/zap.h>

#include "fault/vm_fault.h"

static const char *const fault_kind_names[PS_NR_FAULT_KINDS] = {
	[PS_FAULT_ANON] = "anonymous", [PS_FAULT_ZERO] = "zero page",
	[PS_FAULT_FILE] = "file",      [PS_FAULT_COW] = "copy on write",
	[PS_FAULT_REUSE] = "reuse",    [PS_FAULT_THP] = "huge page",
	[PS_FAULT_HINT] = "NUMA hint", [PS_FAULT_MIGRATION] = "migration wait",
	[PS_FAULT_SWAP] = "swap in",
};

const char *ps_fault_kind_name(enum ps_fault_kind kind)
{
	return (unsigned int)kind < PS_NR_FAULT_KINDS ? fault_kind_names[kind] : "?";
}

void fault_count(enum ps_fault_kind kind)
{
	ps_stat_add(&this_machine()->faults->count[kind], 1);
}

static void cache_inode_free(struct inode *inode)
{
	mpol_free_shared_policy(inode);
}

int ps_faults_init(struct ps_machine *machine)
{
	unsigned int huge = 1U << machine->pt_bits;

	machine->faults = ps_zalloc(sizeof(*machine->faults));
	if (!machine->faults)
		return -ENOMEM;
	machine->faults->khugepaged.max_ptes_none = huge - 1;
	machine->faults->khugepaged.max_ptes_swap = huge / 8;
	machine->faults->khugepaged.max_ptes_shared = huge / 2;
	machine->faults->huge_zero_shrinker.count_objects = shrink_huge_zero_page_count;
	machine->faults->huge_zero_shrinker.scan_objects = shrink_huge_zero_page_scan;
	machine->faults->huge_zero_shrinker.seeks = DEFAULT_SEEKS;
	register_shrinker(&machine->faults->huge_zero_shrinker, "thp-zero");
	if (machine->files) {
		machine->files->hooks.unmap_mapping_pages = unmap_mapping_pages;
		machine->files->hooks.unmap_mapping_page = unmap_mapping_page;
		machine->files->hooks.page_mkclean = page_mkclean;
		machine->files->hooks.inode_free = cache_inode_free;
	}
	return 0;
}

void ps_faults_destroy(struct ps_machine *machine)
{
	if (!machine->faults)
		return;
	unregister_shrinker(&machine->faults->huge_zero_shrinker);
	shrink_huge_zero_page(machine);
	ps_free(machine->faults);
	machine->faults = NULL;
}

/* ---- where a file mapping's new pages come from: the policy of the place in the file */

static struct page *source_alloc(void *arg, struct address_space *mapping, pgoff_t index, unsigned int order, gfp_t gfp)
{
	struct inode *inode = mapping->host;
	const struct mempolicy *pol = NULL;

	(void)arg;
	if (inode->kind == PS_FILE_TMPFS)
		pol = mpol_shared_policy_lookup(inode, index);
	if (!pol)
		pol = get_task_policy(current);
	/* Files of a disk have no policies, and their pages are allocated without asking where they lie. */
	if (inode->kind == PS_FILE_DISK)
		return alloc_pages_policy(gfp, order, pol, NO_INTERLEAVE_INDEX, order > 0);
	/* The kernel counts a shared file's interleave from index + inode number, so that files start on different nodes. */
	return alloc_pages_policy(gfp, order, pol, index + inode->i_ino, order > 0);
}

void ps_policy_page_source(struct ps_page_source *ret_source)
{
	ret_source->alloc = source_alloc;
	ret_source->arg = NULL;
}

/* ---- helpers */

static pte_t mk_pte(struct page *page, pgprot_t prot)
{
	return pfn_pte(page_to_pfn(page), prot);
}

static pte_t maybe_mkwrite(pte_t pte, const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_WRITE ? pte_mkwrite(pte) : pte;
}

struct page *vm_normal_page(pte_t pte)
{
	return pte_present(pte) && !pte_special(pte) ? pfn_to_page(pte_pfn(pte)) : NULL;
}

static void charge_zero(struct page *page, unsigned long nr)
{
	struct ps_machine *machine = this_machine();

	ps_charge(ps_zero_ns(machine, numa_node_id(), page_to_nid(page), nr << PAGE_SHIFT), PS_TIME_COPY);
	ps_node_written(machine, page_to_nid(page), nr << PAGE_SHIFT);
}

static void charge_copy(struct page *dst, struct page *src)
{
	struct ps_machine *machine = this_machine();
	nid_t from = is_zero_page(src) ? page_to_nid(dst) : page_to_nid(src);

	ps_charge(ps_copy_ns(machine, numa_node_id(), from, page_to_nid(dst), PAGE_SIZE), PS_TIME_COPY);
	ps_node_read(machine, from, PAGE_SIZE);
	ps_node_written(machine, page_to_nid(dst), PAGE_SIZE);
}

struct page *alloc_user_page(struct vm_area_struct *vma, u64 addr)
{
	ps_charge(this_machine()->costs.alloc_page_ns, PS_TIME_FAULT);
	return alloc_pages_vma(GFP_HIGHUSER_MOVABLE, 0, vma, addr & PAGE_MASK, false);
}

static struct page *alloc_zeroed_user_page(struct vm_area_struct *vma, u64 addr)
{
	struct page *page = alloc_user_page(vma, addr);

	if (page) {
		clear_highpage(page);
		charge_zero(page, 1);
	}
	return page;
}

/* ---- first touch of anonymous memory */

static vm_fault_t do_anonymous_page(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mm_struct *mm = vma->vm_mm;
	struct page *page;
	pte_t entry;

	if (vma->vm_flags & VM_SHARED)
		return VM_FAULT_SIGBUS;
	if (pte_alloc(&mm->pt, vmf->pmd))
		return VM_FAULT_OOM;
	if (pmd_leaf_or_swap(pmdp_get(vmf->pmd)))
		return 0;

	if (!(vmf->flags & FAULT_FLAG_WRITE)) {
		entry = pte_mkspecial(mk_pte(ps_zero_page(), vma->vm_page_prot));
		vmf->pte = pte_offset_map_lock(&mm->pt, vmf->pmd, vmf->address, &vmf->ptl);
		if (pte_none(*vmf->pte)) {
			set_pte_at(vmf->pte, entry);
			fault_count(PS_FAULT_ZERO);
		}
		pte_unmap_unlock(vmf->pte, vmf->ptl);
		return 0;
	}

	if (anon_vma_prepare(vma))
		return VM_FAULT_OOM;
	page = alloc_zeroed_user_page(vma, vmf->address);
	if (!page)
		return VM_FAULT_OOM;
	__SetPageUptodate(page);
	entry = pte_mkyoung(mk_pte(page, vma->vm_page_prot));
	if (vma->vm_flags & VM_WRITE)
		entry = pte_mkwrite(pte_mkdirty(entry));
	vmf->pte = pte_offset_map_lock(&mm->pt, vmf->pmd, vmf->address, &vmf->ptl);
	if (!pte_none(*vmf->pte)) {
		pte_unmap_unlock(vmf->pte, vmf->ptl);
		put_page(page);
		return 0;
	}
	add_mm_counter(mm, MM_ANONPAGES, 1);
	page_add_new_anon_rmap(page, vma, vmf->address, false);
	lru_cache_add_inactive_or_unevictable(page, vma->vm_flags & VM_LOCKED);
	set_pte_at(vmf->pte, entry);
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	ps_charge(this_machine()->costs.map_pte_ns, PS_TIME_FAULT);
	fault_count(PS_FAULT_ANON);
	return 0;
}

/* ---- write to a page that the entry does not let be written */

/* Context: ptl held; released. */
static void wp_page_reuse(struct vm_fault *vmf)
{
	pte_t entry = pte_mkyoung(vmf->orig_pte);
	struct page *page = vm_normal_page(vmf->orig_pte);

	/* Who reuses it is its user from now on: what a NUMA scan knew of the last one is worthless. */
	if (page)
		page_cpupid_xchg_last(page, -1);
	ptep_set_access_flags(vmf->pte, maybe_mkwrite(pte_mkdirty(entry), vmf->vma));
	count_vm_event(PGREUSE);
	flush_tlb_fix_spurious_fault(&vmf->vma->vm_mm->pt, vmf->address);
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	fault_count(PS_FAULT_REUSE);
}

/* Context: old has a reference for us, or is NULL (zero page); no locks. */
static vm_fault_t wp_page_copy(struct vm_fault *vmf, struct page *old)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mm_struct *mm = vma->vm_mm;
	struct page *fresh;
	pte_t entry;

	if (anon_vma_prepare(vma))
		goto out_oom;
	if (old) {
		fresh = alloc_user_page(vma, vmf->address);
		if (!fresh)
			goto out_oom;
		copy_highpage(fresh, old);
		charge_copy(fresh, old);
	} else {
		fresh = alloc_zeroed_user_page(vma, vmf->address);
		if (!fresh)
			goto out_oom;
	}
	__SetPageUptodate(fresh);

	vmf->pte = pte_offset_map_lock(&mm->pt, vmf->pmd, vmf->address, &vmf->ptl);
	if (pte_same(*vmf->pte, vmf->orig_pte)) {
		if (!old) {
			add_mm_counter(mm, MM_ANONPAGES, 1);
		} else if (!PageAnon(old)) {
			add_mm_counter(mm, mm_counter_of(old), -1);
			add_mm_counter(mm, MM_ANONPAGES, 1);
		}
		entry = pte_mkyoung(mk_pte(fresh, vma->vm_page_prot));
		if (vmf->flags & FAULT_FLAG_UNSHARE) {
			if (pte_soft_dirty(vmf->orig_pte))
				entry = pte_mksoft_dirty(entry);
		} else {
			entry = maybe_mkwrite(pte_mkdirty(entry), vma);
		}
		/*
		 * Clear and flush before the new entry is set: never may one CPU write the copy while another still reads the
		 * original through its TLB.
		 */
		ptep_get_and_clear(vmf->pte);
		flush_tlb_page(&mm->pt, vmf->address);
		page_add_new_anon_rmap(fresh, vma, vmf->address, false);
		lru_cache_add_inactive_or_unevictable(fresh, vma->vm_flags & VM_LOCKED);
		set_pte_at(vmf->pte, entry);
		/* The mapcount of the old page goes last: who sees it drop may reuse the page for writing. */
		if (old)
			page_remove_rmap(old, vma, false);
		pte_unmap_unlock(vmf->pte, vmf->ptl);
		if (old)
			put_page(old); /* the mapping's */
		fault_count(PS_FAULT_COW);
	} else {
		pte_unmap_unlock(vmf->pte, vmf->ptl);
		put_page(fresh);
	}
	if (old) {
		free_swap_cache(old);
		put_page(old);
	}
	return 0;

out_oom:
	if (old)
		put_page(old);
	return VM_FAULT_OOM;
}

static void fault_dirty_shared_page(struct page *page)
{
	/* Page locked; stays locked until the entry is set, so writeback cannot slip in between. */
	set_page_dirty(page);
	unlock_page(page);
}

/* Context: ptl held; released. */
static vm_fault_t wp_page_shared(struct vm_fault *vmf, struct page *page)
{
	struct vm_area_struct *vma = vmf->vma;
	struct inode *inode = vma->vm_mapping->host;
	int error;

	get_page(page);
	if (!file_wants_mkwrite(inode)) {
		wp_page_reuse(vmf);
		lock_page(page);
		fault_dirty_shared_page(page);
		put_page(page);
		return 0;
	}
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	error = file_page_mkwrite(inode, page);
	if (error) {
		put_page(page);
		return error == -ENOMEM ? VM_FAULT_OOM : 0;
	}
	vmf->pte = pte_offset_map_lock(&vma->vm_mm->pt, vmf->pmd, vmf->address, &vmf->ptl);
	if (!pte_same(*vmf->pte, vmf->orig_pte)) {
		pte_unmap_unlock(vmf->pte, vmf->ptl);
		unlock_page(page);
		put_page(page);
		return 0;
	}
	wp_page_reuse(vmf);
	fault_dirty_shared_page(page);
	put_page(page);
	return 0;
}

/* May an anonymous page that is not exclusive be taken over, because nobody else has it any more? */
static bool anon_page_reusable(struct vm_fault *vmf, struct page *page)
{
	struct page *head = compound_head(page);
	bool reusable;

	if (page_ref_count(head) > 3)
		return false;
	/* A reference may only be our CPU's LRU batch. Other CPUs' batches are not looked for: a copy is cheaper. */
	if (!PageLRU(head))
		lru_add_drain();
	if (page_ref_count(head) > 1 + PageSwapCache(head))
		return false;
	if (!trylock_page(head))
		return false;
	if (PageSwapCache(head))
		try_to_free_swap(head);
	reusable = page_ref_count(head) == 1;
	if (reusable)
		page_move_anon_rmap(page, vmf->vma);
	unlock_page(head);
	return reusable;
}

vm_fault_t do_wp_page(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	bool unshare = vmf->flags & FAULT_FLAG_UNSHARE;
	struct page *page = vm_normal_page(vmf->orig_pte);

	if (page && PageAnon(page)) {
		if (PageAnonExclusive(page) || anon_page_reusable(vmf, page)) {
			if (unshare)
				pte_unmap_unlock(vmf->pte, vmf->ptl);
			else
				wp_page_reuse(vmf);
			return 0;
		}
	} else if (unshare) {
		pte_unmap_unlock(vmf->pte, vmf->ptl); /* not anonymous: nothing to unshare */
		return 0;
	} else if (page && vma_is_shared(vma)) {
		return wp_page_shared(vmf, page);
	}
	if (page)
		get_page(page);
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	return wp_page_copy(vmf, page);
}

/* ---- file pages */

static enum shmem_huge_hint huge_hint(const struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_NOHUGEPAGE)
		return SHMEM_HINT_NOHUGEPAGE;
	return vma->vm_flags & VM_HUGEPAGE ? SHMEM_HINT_HUGEPAGE : SHMEM_HINT_NONE;
}

/* vmf->page: uptodate, locked, referenced. */
static vm_fault_t __do_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct ps_page_source source;
	bool major = false;
	int error;

	ps_policy_page_source(&source);
	error = file_fault(vma->vm_mapping->host, linear_page_index(vma, vmf->address), huge_hint(vma), &source,
			   &vmf->page, &major);
	if (error == -ENOMEM)
		return VM_FAULT_OOM;
	if (error)
		return VM_FAULT_SIGBUS;
	if (major) /* which the cache has counted */
		ps_charge(this_machine()->costs.major_fault_ns, PS_TIME_FAULT);
	return 0;
}

vm_fault_t do_set_pmd(struct vm_fault *vmf, struct page *page)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mm_struct *mm = vma->vm_mm;
	u64 haddr = vmf->address & pmd_mask(&mm->pt);
	vm_fault_t ret = VM_FAULT_FALLBACK;
	spinlock_t *ptl;
	pmd_t entry;

	page = compound_head(page);
	if (compound_order(page) != mm->pt.bits || !transhuge_vma_suitable(vma, haddr))
		return ret;
	ptl = pmd_lock(&mm->pt, vmf->pmd);
	if (pmd_none(*vmf->pmd)) {
		entry = pfn_pmd_huge(page_to_pfn(page), vma->vm_page_prot);
		if (vmf->flags & FAULT_FLAG_WRITE) {
			entry = pmd_mkdirty(entry);
			if (vma->vm_flags & VM_WRITE)
				entry = pmd_mkwrite(entry);
		}
		add_mm_counter(mm, mm_counter_of(page), hpage_pmd_nr(&mm->pt));
		page_add_file_rmap(page, vma, true);
		set_pmd_at(vmf->pmd, entry);
		count_vm_event(THP_FILE_MAPPED);
		ret = 0;
	}
	spin_unlock(ptl);
	return ret;
}

/* Maps `page` (the cache's, or a fresh private copy): the reference becomes the mapping's. Return: 0 mapped, NOPAGE raced. */
static vm_fault_t finish_fault(struct vm_fault *vmf, struct page *page, bool private_copy)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mm_struct *mm = vma->vm_mm;
	bool write = vmf->flags & FAULT_FLAG_WRITE;
	vm_fault_t ret = VM_FAULT_NOPAGE;
	pte_t entry;

	if (pmd_none(pmdp_get(vmf->pmd))) {
		if (!private_copy && PageTransCompound(page)) {
			ret = do_set_pmd(vmf, page);
			if (!ret)
				fault_count(PS_FAULT_THP);
			if (ret != VM_FAULT_FALLBACK)
				return ret;
			ret = VM_FAULT_NOPAGE;
		}
		if (pte_alloc(&mm->pt, vmf->pmd))
			return VM_FAULT_OOM;
	}
	if (pmd_leaf_or_swap(pmdp_get(vmf->pmd)))
		return VM_FAULT_NOPAGE;
	vmf->pte = pte_offset_map_lock(&mm->pt, vmf->pmd, vmf->address, &vmf->ptl);
	if (pte_none(*vmf->pte)) {
		entry = pte_mkyoung(mk_pte(page, vma->vm_page_prot));
		if (write)
			entry = maybe_mkwrite(pte_mkdirty(entry), vma);
		if (private_copy) {
			add_mm_counter(mm, MM_ANONPAGES, 1);
			page_add_new_anon_rmap(page, vma, vmf->address, false);
			lru_cache_add_inactive_or_unevictable(page, vma->vm_flags & VM_LOCKED);
		} else {
			add_mm_counter(mm, mm_counter_of(page), 1);
			page_add_file_rmap(page, vma, false);
		}
		set_pte_at(vmf->pte, entry);
		ret = 0;
	}
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	return ret;
}

static vm_fault_t do_read_fault(struct vm_fault *vmf)
{
	vm_fault_t ret = __do_fault(vmf);

	if (ret)
		return ret;
	ret = finish_fault(vmf, vmf->page, false);
	unlock_page(compound_head(vmf->page));
	if (ret)
		put_page(vmf->page);
	else
		fault_count(PS_FAULT_FILE);
	return ret;
}

static vm_fault_t do_cow_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct page *copy;
	vm_fault_t ret;

	if (anon_vma_prepare(vma))
		return VM_FAULT_OOM;
	copy = alloc_user_page(vma, vmf->address);
	if (!copy)
		return VM_FAULT_OOM;
	ret = __do_fault(vmf);
	if (ret) {
		put_page(copy);
		return ret;
	}
	copy_highpage(copy, vmf->page);
	charge_copy(copy, vmf->page);
	__SetPageUptodate(copy);
	ret = finish_fault(vmf, copy, true);
	unlock_page(compound_head(vmf->page));
	put_page(vmf->page);
	if (ret)
		put_page(copy);
	else
		fault_count(PS_FAULT_COW);
	return ret;
}

static vm_fault_t do_shared_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct inode *inode = vma->vm_mapping->host;
	struct page *head;
	vm_fault_t ret = __do_fault(vmf);
	int error;

	if (ret)
		return ret;
	head = compound_head(vmf->page);
	if (file_wants_mkwrite(inode)) {
		unlock_page(head);
		error = file_page_mkwrite(inode, vmf->page);
		if (error) {
			put_page(vmf->page);
			return error == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_NOPAGE;
		}
	}
	ret = finish_fault(vmf, vmf->page, false);
	if (ret) {
		unlock_page(head);
		put_page(vmf->page);
		return ret;
	}
	fault_dirty_shared_page(head);
	fault_count(PS_FAULT_FILE);
	return 0;
}

static vm_fault_t do_fault(struct vm_fault *vmf)
{
	if (!(vmf->flags & FAULT_FLAG_WRITE))
		return do_read_fault(vmf);
	return vma_is_shared(vmf->vma) ? do_shared_fault(vmf) : do_cow_fault(vmf);
}

/* ---- NUMA hint faults */

/* Which node should have this page? Takes a reference to it. Context: the entry's lock. */
nid_t numa_migrate_prep(struct page *page, struct vm_area_struct *vma, u64 addr, nid_t page_nid)
{
	struct ps_faults *faults = this_machine()->faults;

	get_page(page);
	count_vm_event(NUMA_HINT_FAULTS);
	if (page_nid == numa_node_id())
		count_vm_event(NUMA_HINT_FAULTS_LOCAL);
	return faults->numa.misplaced ? faults->numa.misplaced(page, vma, addr, page_nid) : NUMA_NO_NODE;
}

void task_numa_fault(struct mm_struct *mm, nid_t nid, unsigned int pages, bool moved, bool failed)
{
	struct ps_faults *faults = this_machine()->faults;

	if (faults->numa.faulted)
		faults->numa.faulted(mm, nid, pages, moved, failed);
}

/* Puts the entry back the way the VMA's protection wants it. Context: ptl held. */
static void numa_restore_pte(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	pte_t old = ptep_get_and_clear(vmf->pte);
	pte_t entry = pte_mkyoung(pte_modify(old, vma->vm_page_prot));

	/* What was writable before the hint stays so. */
	if (pte_write(old))
		entry = pte_mkwrite(entry);
	set_pte_at(vmf->pte, entry);
}

static vm_fault_t do_numa_page(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mm_struct *mm = vma->vm_mm;
	nid_t page_nid = NUMA_NO_NODE, target;
	bool moved = false, failed = false;
	struct page *page;

	ps_charge(this_machine()->costs.hint_fault_ns, PS_TIME_FAULT);
	fault_count(PS_FAULT_HINT);
	vmf->pte = pte_offset_map_lock(&mm->pt, vmf->pmd, vmf->address, &vmf->ptl);
	if (!pte_same(*vmf->pte, vmf->orig_pte)) {
		pte_unmap_unlock(vmf->pte, vmf->ptl);
		return 0;
	}
	page = vm_normal_page(*vmf->pte);
	/* A huge page mapped by PTEs is left where it is, as 6.1 does. */
	if (!page || PageCompound(page))
		goto out_map;
	page_nid = page_to_nid(page);
	target = numa_migrate_prep(page, vma, vmf->address, page_nid);
	if (target == NUMA_NO_NODE) {
		put_page(page);
		goto out_map;
	}
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	moved = this_machine()->faults->numa.migrate(page, vma, target);
	if (moved) {
		page_nid = target;
		goto out;
	}
	failed = true;
	vmf->pte = pte_offset_map_lock(&mm->pt, vmf->pmd, vmf->address, &vmf->ptl);
	if (!pte_same(*vmf->pte, vmf->orig_pte)) {
		pte_unmap_unlock(vmf->pte, vmf->ptl);
		goto out;
	}
out_map:
	numa_restore_pte(vmf);
	pte_unmap_unlock(vmf->pte, vmf->ptl);
out:
	if (page_nid != NUMA_NO_NODE)
		task_numa_fault(mm, page_nid, 1, moved, failed);
	return 0;
}

/* ---- dispatch */

static bool vma_is_accessible(const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_ACCESS_FLAGS;
}

static vm_fault_t handle_pte_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mm_struct *mm = vma->vm_mm;
	pmd_t pmd = pmdp_get(vmf->pmd);
	pte_t entry;

	if (pmd_leaf_or_swap(pmd))
		return 0; /* a huge page came meanwhile: look again */
	vmf->orig_pte = pmd_table(pmd) ? ptep_get(pte_offset_map(&mm->pt, pmd, vmf->address)) : __pte(0);
	if (pte_none(vmf->orig_pte))
		return vma_is_anonymous(vma) ? do_anonymous_page(vmf) : do_fault(vmf);
	if (!pte_present(vmf->orig_pte)) {
		if (!is_pte_migration_entry(vmf->orig_pte))
			return do_swap_page(vmf);
		fault_count(PS_FAULT_MIGRATION);
		migration_entry_wait(mm, vmf->pmd, vmf->address);
		return 0;
	}
	if (pte_protnone(vmf->orig_pte) && vma_is_accessible(vma))
		return do_numa_page(vmf);

	vmf->pte = pte_offset_map_lock(&mm->pt, vmf->pmd, vmf->address, &vmf->ptl);
	entry = vmf->orig_pte;
	if (!pte_same(*vmf->pte, entry)) {
		pte_unmap_unlock(vmf->pte, vmf->ptl);
		return 0;
	}
	if (vmf->flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) {
		if (!pte_write(entry))
			return do_wp_page(vmf);
		if (vmf->flags & FAULT_FLAG_WRITE)
			entry = pte_mkdirty(entry);
	}
	entry = pte_mkyoung(entry);
	ptep_set_access_flags(vmf->pte, entry);
	flush_tlb_fix_spurious_fault(&mm->pt, vmf->address);
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	return 0;
}

static vm_fault_t __handle_mm_fault(struct vm_area_struct *vma, u64 addr, unsigned int flags)
{
	struct vm_fault vmf = { .vma = vma, .address = addr & PAGE_MASK, .flags = flags };
	struct mm_struct *mm = vma->vm_mm;
	vm_fault_t ret;
	pmd_t pmd;

	count_vm_event(PGFAULT);
	ps_charge(this_machine()->costs.fault_ns, PS_TIME_FAULT);
	vmf.pmd = pmd_alloc(&mm->pt, addr);
	if (!vmf.pmd)
		return VM_FAULT_OOM;
	pmd = pmdp_get(vmf.pmd);
	if (pmd_none(pmd) && vma_is_anonymous(vma) && hugepage_vma_check(vma, true, true)) {
		ret = do_huge_pmd_anonymous_page(&vmf);
		if (!(ret & VM_FAULT_FALLBACK))
			return ret;
	} else if (pmd_leaf_or_swap(pmd)) {
		vmf.orig_pmd = pmd;
		if (!pmd_present(pmd)) {
			fault_count(PS_FAULT_MIGRATION);
			pmd_migration_entry_wait(mm, vmf.pmd);
			return 0;
		}
		if (pmd_protnone(pmd) && vma_is_accessible(vma))
			return do_huge_pmd_numa_page(&vmf);
		if ((flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) && !pmd_write(pmd)) {
			ret = do_huge_pmd_wp_page(&vmf);
			if (!(ret & VM_FAULT_FALLBACK))
				return ret;
		} else {
			huge_pmd_set_accessed(&vmf);
			return 0;
		}
	}
	return handle_pte_fault(&vmf);
}

vm_fault_t handle_mm_fault(struct vm_area_struct *vma, u64 addr, unsigned int flags)
{
	enum ps_time_class before = ps_work_begin(PS_TIME_FAULT);
	vm_fault_t ret = __handle_mm_fault(vma, addr, flags);

	ps_work_end(before);
	return ret;
}

/* ---- populate */

int populate_vma_page_range(struct vm_area_struct *vma, u64 start, u64 end)
{
	unsigned int flags = FAULT_FLAG_USER;
	u64 addr;

	/* What is shared and writable is only read: writing would dirty the file. */
	if ((vma->vm_flags & (VM_WRITE | VM_SHARED)) == VM_WRITE)
		flags |= FAULT_FLAG_WRITE;
	if (!vma_is_accessible(vma))
		return -EFAULT;
	for (addr = start; addr < end; addr += PAGE_SIZE) {
		vm_fault_t ret = handle_mm_fault_until_present(vma, addr, flags);

		if (ret & VM_FAULT_OOM)
			return -ENOMEM;
		if (ret & VM_FAULT_ERROR)
			return -EFAULT;
	}
	return 0;
}

int mm_populate(struct mm_struct *mm, u64 start, u64 len)
{
	struct vm_area_struct *vma;
	int ret = 0;

	mmap_read_lock(mm);
	for_each_vma_range(mm, vma, start, start + len) {
		ret = populate_vma_page_range(vma, ps_max(start, vma->vm_start), ps_min(start + len, vma->vm_end));
		if (ret)
			break;
	}
	mmap_read_unlock(mm);
	return ret;
}
