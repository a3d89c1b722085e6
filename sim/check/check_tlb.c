/* SPDX-License-Identifier: MIT */
/*
 * Every TLB entry against the page table it was filled from: same frame, same size, no right the entry does not give.
 */
#include "check/census.h"

static struct mm_struct *mm_of_asid(const struct census *c, u32 asid)
{
	struct mm_struct *mm;

	list_for_each_entry(mm, &c->machine->mms->list, mmlist)
		if (mm->pt.asid == asid)
			return mm;
	return NULL;
}

/* The entry that translates addr, as 64 bits; 0 when none does. */
static u64 entry_at(const struct mm_struct *mm, u64 addr, bool *ret_huge)
{
	pmd_t *pmd = pmd_find(&mm->pt, addr);

	*ret_huge = false;
	if (!pmd || pmd_none(*pmd))
		return 0;
	if (pmd_table(*pmd))
		return pte_offset_map(&mm->pt, *pmd, addr)->val;
	*ret_huge = true;
	return pmd->val;
}

static void check_item(struct census *c, unsigned int cpu, const struct ps_tlb_item *item)
{
	struct mm_struct *mm = mm_of_asid(c, item->asid);
	u64 addr = item->vpn << PAGE_SHIFT, entry;
	bool huge;

	if (!mm) {
		violation(c, 5, item->pfn, "CPU %u: translation of %#lx of address space %u, which is gone", cpu,
			  (unsigned long)addr, item->asid);
		return;
	}
	entry = entry_at(mm, addr, &huge);
	if (!(entry & _PAGE_PRESENT) || (entry & _PAGE_PFN_MASK) >> PAGE_SHIFT != item->pfn)
		violation(c, 5, item->pfn, "CPU %u: translation of %#lx of mm %u to pfn %lu, the page table says %#lx",
			  cpu, (unsigned long)addr, item->asid, (unsigned long)item->pfn, (unsigned long)entry);
	else if ((item->flags & PS_TLB_WRITE) && !(entry & _PAGE_RW))
		violation(c, 5, item->pfn, "CPU %u: translation of %#lx of mm %u may write, the page table forbids it",
			  cpu, (unsigned long)addr, item->asid);
	else if (huge != !!(item->flags & PS_TLB_HUGE))
		violation(c, 5, item->pfn, "CPU %u: translation of %#lx of mm %u has another size than the entry", cpu,
			  (unsigned long)addr, item->asid);
}

void check_tlbs(struct census *c)
{
	unsigned int cpu;

	for (cpu = 0; cpu < c->machine->nr_cpus; cpu++) {
		struct ps_tlb_item item;
		u32 cursor = 0;

		while (ps_tlb_next(&c->machine->cpus[cpu].tlb, &cursor, &item))
			check_item(c, cpu, &item);
	}
}
