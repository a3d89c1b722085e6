/* SPDX-License-Identifier: MIT */
/*
 * The walk over all address spaces.
 */
#include "check/census.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/compound.h>
#include <pagesim/mem.h>
#include <pagesim/movable.h>
#include <pagesim/page_flags.h>
#include <pagesim/rmap.h>
#include <pagesim/swap.h>

void violation(struct census *c, int invariant, pfn_t pfn, const char *format, ...)
{
	struct ps_check_report *report = c->report;

	if (report->nr < PS_MAX_VIOLATIONS) {
		struct ps_violation *v = &report->violation[report->nr];
		va_list args;

		v->invariant = invariant;
		v->pfn = pfn;
		va_start(args, format);
		vsnprintf(v->text, sizeof(v->text), format, args);
		va_end(args);
	}
	report->nr++;
}

/* ---- the table of sights */

static u64 slot_of(const struct census *c, pfn_t pfn)
{
	u64 slot = (pfn * 0x9E3779B97F4A7C15ULL >> 20) & c->mask;

	while (c->table[slot].pfn && c->table[slot].pfn != pfn)
		slot = (slot + 1) & c->mask;
	return slot;
}

static void grow(struct census *c)
{
	struct sight *old = c->table;
	u64 old_size = old ? c->mask + 1 : 0, size = old ? old_size * 2 : 1024, i;
	struct sight *table = ps_zalloc(size * sizeof(*table));

	if (!table) {
		c->out_of_memory = true;
		return;
	}
	c->table = table;
	c->mask = size - 1;
	for (i = 0; i < old_size; i++)
		if (old[i].pfn)
			table[slot_of(c, old[i].pfn)] = old[i];
	ps_free(old);
}

struct sight *sight_of(struct census *c, pfn_t pfn)
{
	static struct sight dummy;
	u64 slot;

	if (!c->table || c->used * 2 > c->mask)
		grow(c);
	if (c->out_of_memory)
		return &dummy;
	slot = slot_of(c, pfn);
	if (!c->table[slot].pfn) {
		c->table[slot].pfn = pfn;
		c->used++;
	}
	return &c->table[slot];
}

const struct sight *sight_find(const struct census *c, pfn_t pfn)
{
	const struct sight *sight;

	if (!c->table)
		return NULL;
	sight = &c->table[slot_of(c, pfn)];
	return sight->pfn ? sight : NULL;
}

/* ---- swap */

/* An entry refers to a slot: one more of those the map must count. */
static void swap_user(struct census *c, swp_entry_t entry, u32 asid, u64 addr)
{
	const struct ps_swap *swap = c->machine->swap;
	u64 slot = swp_offset(entry);

	if (!swap || !swap->map || swp_type(entry) || !slot || slot >= swap->nr_slots) {
		violation(c, 19, U64_MAX, "mm %u: the entry at %#lx refers to slot %lu, which is none", asid,
			  (unsigned long)addr, (unsigned long)slot);
		return;
	}
	if (!c->swap_users)
		c->swap_users = ps_calloc(swap->nr_slots, sizeof(*c->swap_users));
	if (!c->swap_users)
		c->out_of_memory = true;
	else
		c->swap_users[slot]++;
}

/* ---- address spaces */

/* Is this frame one that may be mapped? */
static struct page *mapped_page(struct census *c, const struct vm_area_struct *vma, u64 addr, pfn_t pfn)
{
	struct page *page = ps_pfn_present(c->machine, pfn) ? pfn_to_online_page(pfn) : NULL;

	if (!page) {
		violation(c, 1, pfn, "mm %u maps %#lx to pfn %lu, which is no page", vma->vm_mm->pt.asid,
			  (unsigned long)addr, (unsigned long)pfn);
		return NULL;
	}
	if (page_ref_count(compound_head(page)) <= 0 || PageBuddy(page))
		violation(c, 1, pfn, "mm %u maps %#lx to a free page (count %d)", vma->vm_mm->pt.asid,
			  (unsigned long)addr, page_ref_count(compound_head(page)));
	return page;
}

struct mm_sums {
	long rss[NR_MM_COUNTERS];
	long huge_pmds; /* with a deposited table */
	long pte_tables;
};

static enum mm_counter kind_of(struct page *page)
{
	if (PageAnon(page))
		return MM_ANONPAGES;
	return PageSwapBacked(page) ? MM_SHMEMPAGES : MM_FILEPAGES;
}

static void census_leaf(struct census *c, struct vm_area_struct *vma, u64 addr, pmd_t pmd, struct mm_sums *sums)
{
	unsigned int nr = hpage_pmd_nr(&vma->vm_mm->pt);
	struct page *page;
	pfn_t pfn;

	if (is_huge_zero_pmd(pmd))
		return;
	pfn = pmd_present(pmd) ? pmd_pfn(pmd) : swp_offset(pmd_to_swp_entry(pmd));
	page = mapped_page(c, vma, addr, pfn);
	if (!page)
		return;
	if ((pfn & (nr - 1)) || (addr & (pmd_size(&vma->vm_mm->pt) - 1)) || !PageHead(page) || compound_nr(page) != nr)
		violation(c, 16, pfn, "mm %u: huge entry at %#lx does not map a huge page whole and aligned",
			  vma->vm_mm->pt.asid, (unsigned long)addr);
	sums->rss[kind_of(page)] += nr;
	if (pmd_present(pmd)) {
		struct sight *sight = sight_of(c, pfn);

		sight->pmds++;
		sight->writable += pmd_write(pmd);
	} else {
		sight_of(c, pfn)->migration++;
	}
}

static void census_pte(struct census *c, struct vm_area_struct *vma, u64 addr, pte_t pte, struct mm_sums *sums)
{
	struct page *page;
	pfn_t pfn;

	if (pte_none(pte) || is_zero_pte(pte))
		return;
	if (is_swap_pte(pte) && !swp_type(pte_to_swp_entry(pte))) {
		sums->rss[MM_SWAPENTS]++;
		swap_user(c, pte_to_swp_entry(pte), vma->vm_mm->pt.asid, addr);
		return;
	}
	if (!pte_present(pte) && !is_pte_migration_entry(pte)) {
		violation(c, 16, U64_MAX, "mm %u: entry of no known kind at %#lx", vma->vm_mm->pt.asid,
			  (unsigned long)addr);
		return;
	}
	pfn = pte_present(pte) ? pte_pfn(pte) : swp_offset(pte_to_swp_entry(pte));
	page = mapped_page(c, vma, addr, pfn);
	if (!page)
		return;
	sums->rss[kind_of(page)]++;
	if (pte_present(pte)) {
		struct sight *sight = sight_of(c, pfn);

		sight->ptes++;
		sight->writable += pte_write(pte);
	} else {
		sight_of(c, pfn)->migration++;
	}
}

static void census_vma(struct census *c, struct vm_area_struct *vma, struct mm_sums *sums)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 addr = vma->vm_start;
	pmd_t *pmd;

	while ((pmd = pmd_next(pt, &addr, vma->vm_end))) {
		u64 next = pmd_addr_end(pt, addr, vma->vm_end);

		if (pmd_leaf_or_swap(*pmd)) {
			census_leaf(c, vma, addr, *pmd, sums);
		} else {
			pte_t *pte = pte_offset_map(pt, *pmd, addr);

			for (; addr < next; addr += PAGE_SIZE, pte++)
				census_pte(c, vma, addr, *pte, sums);
		}
		addr = next;
	}
}

/* Needs this leaf a table in store? File pages are not split into PTEs. */
static bool wants_deposit(const struct census *c, pmd_t pmd)
{
	pfn_t pfn = pmd_present(pmd) ? pmd_pfn(pmd) : swp_offset(pmd_to_swp_entry(pmd));

	if (is_huge_zero_pmd(pmd))
		return true;
	return ps_pfn_present(c->machine, pfn) && PageAnon(pfn_to_page(pfn));
}

/* One table of PMDs is complete: the tables deposited with it are as many as its leaves want. */
static void census_deposits(struct census *c, struct mm_struct *mm, const pmd_t *pmd, u64 addr, unsigned long wanted)
{
	unsigned long deposits = pmd ? pgtable_trans_huge_deposits(pmd) : 0;

	if (deposits != wanted)
		violation(c, 16, U64_MAX, "mm %u: %lu tables deposited around %#lx, its huge entries want %lu",
			  mm->pt.asid, deposits, (unsigned long)addr, wanted);
}

/* Entries outside every VMA, and the number of tables. */
static void census_tables(struct census *c, struct mm_struct *mm, struct mm_sums *sums)
{
	struct page_tables *pt = &mm->pt;
	const u64 span = pmd_size(pt) << pt->bits;
	u64 addr = 0, at, table_addr = 0;
	unsigned long wanted = 0;
	const pmd_t *table = NULL;
	pmd_t *pmd;

	while ((pmd = pmd_next(pt, &addr, task_size(pt)))) {
		u64 next = pmd_addr_end(pt, addr, task_size(pt));

		if (!table || addr / span != table_addr / span) {
			census_deposits(c, mm, table, table_addr, wanted);
			table = pmd;
			table_addr = addr;
			wanted = 0;
		}
		if (pmd_leaf_or_swap(*pmd)) {
			wanted += wants_deposit(c, *pmd);
			sums->huge_pmds += wants_deposit(c, *pmd);
			if (!vma_lookup(mm, addr))
				violation(c, 16, U64_MAX, "mm %u: huge entry at %#lx outside every VMA", pt->asid,
					  (unsigned long)addr);
		} else {
			pte_t *pte = pmd_pte_table(*pmd);

			sums->pte_tables++;
			for (at = addr & pmd_mask(pt); at < next; at += PAGE_SIZE, pte++)
				if (!pte_none(*pte) && !vma_lookup(mm, at))
					violation(c, 16, U64_MAX, "mm %u: entry at %#lx outside every VMA", pt->asid,
						  (unsigned long)at);
		}
		addr = next;
	}
	census_deposits(c, mm, table, table_addr, wanted);
}

static void census_vma_order(struct census *c, struct mm_struct *mm)
{
	struct interval_tree_node *node = interval_tree_first(&mm->mm_vmas);
	struct vm_area_struct *vma;
	u64 end = 0;
	int count = 0;

	if (!interval_tree_check(&mm->mm_vmas))
		violation(c, 11, U64_MAX, "mm %u: the tree of VMAs is broken", mm->pt.asid);
	list_for_each_entry(vma, &mm->mmap, vm_link) {
		count++;
		if (vma->vm_start >= vma->vm_end || vma->vm_start < end)
			violation(c, 11, U64_MAX, "mm %u: VMA %#lx-%#lx is empty or overlaps the one before",
				  mm->pt.asid, (unsigned long)vma->vm_start, (unsigned long)vma->vm_end);
		if (node != &vma->vm_node || vma->vm_node.start != vma->vm_start ||
		    vma->vm_node.last != vma->vm_end - 1)
			violation(c, 11, U64_MAX, "mm %u: VMA %#lx-%#lx is not where the tree has it", mm->pt.asid,
				  (unsigned long)vma->vm_start, (unsigned long)vma->vm_end);
		end = vma->vm_end;
		node = node ? interval_tree_next(node) : NULL;
	}
	if (node || count != mm->map_count)
		violation(c, 11, U64_MAX, "mm %u: %d VMAs listed, map_count %d, tree %s", mm->pt.asid, count,
			  mm->map_count, node ? "has more" : "agrees");
	c->nr_vmas += (u64)count;
}

static const char *const counter_names[NR_MM_COUNTERS] = { "file", "anon", "swap", "shmem" };

static void census_mm(struct census *c, struct mm_struct *mm)
{
	long nr_ptes = atomic_long_read(&mm->pt.nr_ptes);
	struct mm_sums sums = { { 0 } };
	struct vm_area_struct *vma;
	int i;

	census_vma_order(c, mm);
	list_for_each_entry(vma, &mm->mmap, vm_link)
		census_vma(c, vma, &sums);
	census_tables(c, mm, &sums);
	for (i = 0; i < NR_MM_COUNTERS; i++)
		if (sums.rss[i] != get_mm_counter(mm, i))
			violation(c, 9, U64_MAX, "mm %u: rss of %s pages is %ld, counted %ld", mm->pt.asid,
				  counter_names[i], get_mm_counter(mm, i), sums.rss[i]);
	if (nr_ptes != sums.pte_tables + sums.huge_pmds)
		violation(c, 16, U64_MAX, "mm %u: %ld PTE tables counted, %ld in use and %ld deposited", mm->pt.asid,
			  nr_ptes, sums.pte_tables, sums.huge_pmds);
	c->nr_tables += (u64)(sums.pte_tables + sums.huge_pmds + atomic_long_read(&mm->pt.nr_pmds) +
			      atomic_long_read(&mm->pt.nr_puds) + 1);
}

void census_take(struct census *c)
{
	struct mm_struct *mm;

	list_for_each_entry(mm, &c->machine->mms->list, mmlist)
		census_mm(c, mm);
	if ((long)c->nr_tables != page_table_pool_live(c->machine->mms->pool))
		violation(c, 10, U64_MAX, "%lu page tables in address spaces, %ld allocated",
			  (unsigned long)c->nr_tables, page_table_pool_live(c->machine->mms->pool));
	if ((long)c->nr_vmas != atomic_long_read(&c->machine->mms->nr_vmas))
		violation(c, 10, U64_MAX, "%lu VMAs in address spaces, %ld allocated", (unsigned long)c->nr_vmas,
			  atomic_long_read(&c->machine->mms->nr_vmas));
}

static void note_owned(void *arg, struct page *page)
{
	sight_of(arg, page_to_pfn(page))->owned++;
}

void census_owned(struct census *c)
{
	struct ps_page_owner *owner;

	list_for_each_entry(owner, &c->machine->mem->owners, list)
		owner->visit(owner, note_owned, c);
}
