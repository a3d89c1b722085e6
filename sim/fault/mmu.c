/* SPDX-License-Identifier: MIT */
/*
 * The hardware's half of an access: TLB, page walk with accessed and dirty bits, and when the entry forbids the access,
 * the kernel's fault entry.
 *
 * A store needs an entry that is writable and dirty. The TLB remembers both bits, so a store through a clean translation
 * walks once and sets the dirty bit, as hardware does.
 *
 * To other CPUs a walk is not one step: entries may change while it reads them. But a CPU answers a shootdown only between
 * instructions, so whoever has changed an entry and flushed knows that no walk that saw the old one is still to fill the TLB,
 * and no access through it still to reach memory. MMU_LOCK of the CPU stands for that (machine.h).
 */
#include <pagesim/fault.h>

#include <pagesim/contents.h>
#include <pagesim/inode.h>
#include <pagesim/barrier.h>
#include <pagesim/machine.h>
#include <pagesim/page_flags.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

#include "fault/vm_fault.h"

/* Sets bits in an entry if it still is what the walk saw. Return: false if it changed. */
static bool set_entry_bits(u64 *entryp, u64 seen, u64 bits)
{
	if ((seen & bits) == bits)
		return true;
	return cmpxchg(entryp, seen, seen | bits) == seen;
}

/*
 * Walks once. Context: the CPU's mmu_lock.
 * Return: 0 with the TLB filled; -EFAULT when the entry does not allow the access; -EAGAIN when it changed.
 */
static int walk(struct mm_struct *mm, u64 addr, bool write, struct ps_access *ret)
{
	struct ps_machine *machine = this_machine();
	struct ps_tlb *tlb = &machine->cpus[current->cpu].tlb;
	u64 need = _PAGE_PRESENT | (write ? _PAGE_RW : 0);
	u64 set = _PAGE_ACCESSED | (write ? _PAGE_DIRTY | _PAGE_SOFT_DIRTY : 0);
	u64 flags, entry, *entryp;
	pmd_t *pmd = pmd_find(&mm->pt, addr);
	pmd_t top;
	pfn_t pfn;

	if (!pmd)
		return -EFAULT;
	top = pmdp_get(pmd);
	if (pmd_table(top)) {
		entryp = &pte_offset_map(&mm->pt, top, addr)->val;
		flags = 0;
	} else {
		entryp = &pmd->val;
		flags = PS_TLB_HUGE;
	}
	entry = smp_load_acquire(entryp);
	if ((entry & need) != need || (entry & _PAGE_TABLE))
		return -EFAULT;
	if (!set_entry_bits(entryp, entry, set))
		return -EAGAIN;
	entry |= set;
	if (entry & _PAGE_RW)
		flags |= PS_TLB_WRITE;
	if (entry & _PAGE_DIRTY)
		flags |= PS_TLB_DIRTY;
	pfn = (entry & _PAGE_PFN_MASK) >> PAGE_SHIFT;
	ps_tlb_insert(tlb, mm->pt.asid, addr >> PAGE_SHIFT, pfn, ps_pfn_to_nid(machine, pfn), flags);
	if (flags & PS_TLB_HUGE)
		pfn += (addr >> PAGE_SHIFT) & (hpage_pmd_nr(&mm->pt) - 1);
	ret->pfn = pfn;
	ret->nid = ps_pfn_to_nid(machine, pfn);
	return 0;
}

static bool access_error(const struct vm_area_struct *vma, bool write)
{
	if (write)
		return !(vma->vm_flags & VM_WRITE);
	return !(vma->vm_flags & (VM_READ | VM_EXEC | VM_WRITE));
}

static int fault_error(vm_fault_t ret)
{
	if (ret & VM_FAULT_OOM)
		return -ENOMEM;
	if (ret & VM_FAULT_SIGBUS)
		return -ENXIO;
	return ret & VM_FAULT_SIGSEGV ? -EFAULT : 0;
}

/* do_user_addr_fault(): Return: 0 to try the access again, or what ends it. */
static int user_fault(struct mm_struct *mm, u64 addr, bool write)
{
	struct vm_area_struct *vma;
	int error = -EFAULT;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, addr);
	if (vma && !access_error(vma, write))
		error = fault_error(handle_mm_fault(vma, addr, FAULT_FLAG_USER | (write ? FAULT_FLAG_WRITE : 0)));
	mmap_read_unlock(mm);
	return error;
}

/* The word of a frame that a load or store is for; NULL: the caller does it himself. */
static void do_word(pfn_t pfn, bool write, u64 *word)
{
	if (!word)
		return;
	if (write)
		page_word_write(pfn_to_page(pfn), *word);
	else
		*word = page_word_read(pfn_to_page(pfn));
}

static int walk_until_done(u64 addr, bool write, struct ps_access *ret, u64 *word)
{
	struct mm_struct *mm = current->mm;
	struct ps_machine *machine = this_machine();
	int error;

	tlb_enter_mm(&mm->pt);
	for (;;) {
		struct ps_cpu *cpu = &machine->cpus[current->cpu];

		ps_take_ipis();
		ps_charge(4 * machine->costs.walk_step_ns, PS_TIME_ACCESS);
		spin_lock(&cpu->mmu_lock);
		error = walk(mm, addr, write, ret);
		if (!error)
			do_word(ret->pfn, write, word);
		spin_unlock(&cpu->mmu_lock);
		if (!error)
			return 0;
		if (error == -EAGAIN)
			continue;
		ret->faulted = true;
		error = user_fault(mm, addr, write);
		if (error)
			return error;
		cond_resched();
	}
}

/* Return: whether the TLB allows the access; then *ret says where. */
static bool tlb_allows(u64 addr, bool write, struct ps_access *ret)
{
	struct ps_tlb *tlb = &this_machine()->cpus[current->cpu].tlb;
	u64 word = ps_tlb_lookup(tlb, current->mm->pt.asid, addr >> PAGE_SHIFT);

	if (unlikely(!word || (write && (word & (PS_TLB_WRITE | PS_TLB_DIRTY)) != (PS_TLB_WRITE | PS_TLB_DIRTY))))
		return false;
	if (!(word & PS_TLB_L1))
		ps_charge(this_machine()->costs.tlb_l2_hit_ns, PS_TIME_ACCESS);
	ret->pfn = ps_tlb_pfn(tlb, word, addr >> PAGE_SHIFT);
	ret->nid = ps_tlb_nid(word);
	return true;
}

int ps_mmu_walk(u64 addr, bool write, struct ps_access *ret)
{
	return walk_until_done(addr, write, ret, NULL);
}

int ps_mmu_access(u64 addr, bool write, struct ps_access *ret)
{
	struct ps_access local;

	if (!ret)
		ret = &local;
	ret->faulted = false;
	if (likely(tlb_allows(addr, write, ret)))
		return 0;
	return walk_until_done(addr, write, ret, NULL);
}

static int access_word(u64 addr, bool write, u64 *word)
{
	struct ps_cpu *cpu = &this_machine()->cpus[current->cpu];
	struct ps_access access;
	bool done;

	spin_lock(&cpu->mmu_lock);
	done = tlb_allows(addr, write, &access);
	if (done)
		do_word(access.pfn, write, word);
	spin_unlock(&cpu->mmu_lock);
	return done ? 0 : walk_until_done(addr, write, &access, word);
}

int ps_mmu_load(u64 addr, u64 *ret_word)
{
	return access_word(addr, false, ret_word);
}

int ps_mmu_store(u64 addr, u64 word)
{
	return access_word(addr, true, &word);
}

/* ---- the kernel's own accesses: populate and get_user_pages fault without a CPU access */

bool mapped_for(const struct vm_area_struct *vma, u64 addr, unsigned int flags)
{
	const struct page_tables *pt = &vma->vm_mm->pt;
	pmd_t *pmd = pmd_find(pt, addr);
	pmd_t top;
	pte_t pte;

	if (!pmd)
		return false;
	top = pmdp_get(pmd);
	if (pmd_leaf_or_swap(top))
		return pmd_present(top) && !pmd_protnone(top) && (!(flags & FAULT_FLAG_WRITE) || pmd_write(top));
	if (!pmd_table(top))
		return false;
	pte = ptep_get(pte_offset_map(pt, top, addr));
	return pte_present(pte) && !pte_protnone(pte) && (!(flags & FAULT_FLAG_WRITE) || pte_write(pte));
}

/*
 * A write that goes no further than the page tables leaves its mark where a CPU would: in a huge entry, or, for a small
 * page whose entry and page are both clean, in the page. (FOLL_TOUCH)
 */
static void touch_for_write(struct vm_area_struct *vma, u64 addr)
{
	const struct page_tables *pt = &vma->vm_mm->pt;
	pmd_t *pmd = pmd_find(pt, addr);
	spinlock_t *ptl = pmd_trans_huge_lock(vma, pmd);
	struct page *page;
	pte_t *ptep;

	if (ptl) {
		if (pmd_present(*pmd) && pmd_write(*pmd))
			set_pmd_at(pmd, pmd_mkdirty(pmd_mkyoung(*pmd)));
		spin_unlock(ptl);
		return;
	}
	if (!pmd_table(pmdp_get(pmd)))
		return;
	ptep = pte_offset_map_lock(pt, pmd, addr, &ptl);
	page = pte_present(*ptep) && pte_write(*ptep) && !pte_dirty(*ptep) ? vm_normal_page(*ptep) : NULL;
	if (page && !PageDirty(page))
		set_page_dirty(page);
	pte_unmap_unlock(ptep, ptl);
}

vm_fault_t handle_mm_fault_until_present(struct vm_area_struct *vma, u64 addr, unsigned int flags)
{
	while (!mapped_for(vma, addr, flags)) {
		vm_fault_t ret = handle_mm_fault(vma, addr, flags);

		if (ret & VM_FAULT_ERROR)
			return ret;
	}
	if (flags & FAULT_FLAG_WRITE)
		touch_for_write(vma, addr);
	return 0;
}
