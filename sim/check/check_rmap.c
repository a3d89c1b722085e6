/* SPDX-License-Identifier: MIT */
/*
 * From the entry to the page and back: what an entry maps must lead to that entry again, through the anon_vma's or the
 * file's tree. And the structure of the anon_vmas themselves.
 */
#include "check/census.h"

#include <pagesim/address_space.h>
#include <pagesim/alloc.h>
#include <pagesim/compound.h>
#include <pagesim/page_flags.h>
#include <pagesim/pagemap.h>
#include <pagesim/rmap.h>

static struct anon_vma *anon_vma_of(struct page *head)
{
	return (struct anon_vma *)((unsigned long)head->mapping & ~PAGE_MAPPING_FLAGS);
}

static bool tree_has(const struct interval_tree_root *root, const struct interval_tree_node *node)
{
	struct interval_tree_node *at;

	interval_tree_foreach(at, root, node->start, node->last) if (at == node) return true;
	return false;
}

static struct anon_vma_chain *chain_to(struct vm_area_struct *vma, const struct anon_vma *anon_vma)
{
	struct anon_vma_chain *avc;

	list_for_each_entry(avc, &vma->anon_vma_chain, same_vma)
		if (avc->anon_vma == anon_vma)
			return avc;
	return NULL;
}

/* Does the walk from this small page arrive at addr in this VMA? */
static void check_entry(struct census *c, struct vm_area_struct *vma, u64 addr, struct page *page)
{
	struct page *head = compound_head(page);
	pgoff_t want = head->index + (pgoff_t)(page - head);
	pfn_t pfn = page_to_pfn(page);

	if (linear_page_index(vma, addr) != want)
		violation(c, PageAnon(head) ? 13 : 15, pfn,
			  "pfn %lu is mapped at %#lx of mm %u, where offset %lu belongs, not %lu", (unsigned long)pfn,
			  (unsigned long)addr, vma->vm_mm->pt.asid, (unsigned long)linear_page_index(vma, addr),
			  (unsigned long)want);
	if (PageAnon(head)) {
		if (!chain_to(vma, anon_vma_of(head)))
			violation(c, 13, pfn, "pfn %lu: its anon_vma does not lead to mm %u at %#lx",
				  (unsigned long)pfn, vma->vm_mm->pt.asid, (unsigned long)addr);
	} else if (page_mapping(head) != vma->vm_mapping) {
		violation(c, 15, pfn, "pfn %lu is mapped at %#lx of mm %u, but is not in that file", (unsigned long)pfn,
			  (unsigned long)addr, vma->vm_mm->pt.asid);
	}
}

static void check_vma_entries(struct census *c, struct vm_area_struct *vma)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 addr = vma->vm_start;
	pmd_t *pmd;

	while ((pmd = pmd_next(pt, &addr, vma->vm_end))) {
		u64 next = pmd_addr_end(pt, addr, vma->vm_end);

		if (pmd_leaf_or_swap(*pmd)) {
			if (pmd_present(*pmd) && !is_huge_zero_pmd(*pmd) && ps_pfn_present(c->machine, pmd_pfn(*pmd)))
				check_entry(c, vma, addr, pfn_to_page(pmd_pfn(*pmd)));
		} else {
			pte_t *pte = pte_offset_map(pt, *pmd, addr);

			for (; addr < next; addr += PAGE_SIZE, pte++)
				if (pte_present(*pte) && !pte_special(*pte) &&
				    ps_pfn_present(c->machine, pte_pfn(*pte)))
					check_entry(c, vma, addr, pfn_to_page(pte_pfn(*pte)));
		}
		addr = next;
	}
}

static void check_chains(struct census *c, struct vm_area_struct *vma)
{
	struct anon_vma_chain *avc;
	struct anon_vma *root = vma->anon_vma ? vma->anon_vma->root : NULL;

	if (vma->anon_vma && !chain_to(vma, vma->anon_vma))
		violation(c, 12, U64_MAX, "mm %u: VMA %#lx is not chained to its own anon_vma", vma->vm_mm->pt.asid,
			  (unsigned long)vma->vm_start);
	list_for_each_entry(avc, &vma->anon_vma_chain, same_vma) {
		c->nr_chains++;
		if (avc->vma != vma || (root && avc->anon_vma->root != root))
			violation(c, 12, U64_MAX, "mm %u: a chain of VMA %#lx leads to another family",
				  vma->vm_mm->pt.asid, (unsigned long)vma->vm_start);
		if (avc->rb.start != vma->vm_pgoff || avc->rb.last != vma->vm_pgoff + vma_pages(vma) - 1 ||
		    !tree_has(&avc->anon_vma->rb_root, &avc->rb))
			violation(c, 12, U64_MAX, "mm %u: VMA %#lx is not in its anon_vma's tree as it is",
				  vma->vm_mm->pt.asid, (unsigned long)vma->vm_start);
		if (atomic_read(&avc->anon_vma->refcount) < 1)
			violation(c, 12, U64_MAX, "mm %u: VMA %#lx is chained to a dead anon_vma", vma->vm_mm->pt.asid,
				  (unsigned long)vma->vm_start);
	}
	if (vma->vm_mapping && !tree_has(&vma->vm_mapping->i_mmap, &vma->shared))
		violation(c, 15, U64_MAX, "mm %u: VMA %#lx is not in its file's tree", vma->vm_mm->pt.asid,
			  (unsigned long)vma->vm_start);
}

/* VMAs that call this anon_vma their own, over all address spaces. */
static unsigned long active_vmas(const struct census *c, const struct anon_vma *anon_vma)
{
	struct vm_area_struct *vma;
	struct mm_struct *mm;
	unsigned long n = 0;

	list_for_each_entry(mm, &c->machine->mms->list, mmlist)
		list_for_each_entry(vma, &mm->mmap, vm_link)
			n += vma->anon_vma == anon_vma;
	return n;
}

void check_rmap(struct census *c)
{
	struct vm_area_struct *vma;
	struct mm_struct *mm;

	list_for_each_entry(mm, &c->machine->mms->list, mmlist) {
		list_for_each_entry(vma, &mm->mmap, vm_link) {
			check_chains(c, vma);
			check_vma_entries(c, vma);
			if (vma->anon_vma && vma->anon_vma->num_active_vmas != active_vmas(c, vma->anon_vma))
				violation(c, 12, U64_MAX,
					  "mm %u: the anon_vma of VMA %#lx counts %lu VMAs as its own, %lu are",
					  mm->pt.asid, (unsigned long)vma->vm_start, vma->anon_vma->num_active_vmas,
					  active_vmas(c, vma->anon_vma));
		}
	}
	if (c->nr_chains != (u64)ps_anon_vma_chains_live())
		violation(c, 10, U64_MAX, "%lu anon_vma chains in VMAs, %ld allocated", (unsigned long)c->nr_chains,
			  ps_anon_vma_chains_live());
}
