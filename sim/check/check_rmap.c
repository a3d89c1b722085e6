/* SPDX-License-Identifier: MIT */
/*
 * From the entry to the page and back: what an entry maps must lead to that entry again, through the anon_vma's or the
 * file's tree. And the anon_vmas themselves: in one pass over all chains each is found, and what it says of itself (VMAs that
 * call it their own, children, references, the size of its tree) is compared with what was seen.
 */
#include "check/census.h"

#include <pagesim/address_space.h>
#include <pagesim/alloc.h>
#include <pagesim/compound.h>
#include <pagesim/mem.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_ref.h>
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

/* What the chains of all VMAs say of one anon_vma. */
struct kin {
	const struct anon_vma *anon_vma;  /* key */
	unsigned long chains;             /* VMAs chained to it */
	unsigned long active;             /* VMAs whose own it is */
	unsigned long children;           /* anon_vmas whose parent it is; a root counts itself */
	unsigned long members;            /* of its family but itself; a root's only */
	const struct vm_area_struct *vma; /* one of the chained, to say where */
};

struct kinship {
	struct census *c;
	struct kin *table; /* open addressing */
	u64 mask, used;
};

static u64 kin_slot(const struct kinship *k, const struct anon_vma *anon_vma)
{
	u64 slot = ((u64)(uintptr_t)anon_vma * 0x9E3779B97F4A7C15ULL >> 20) & k->mask;

	while (k->table[slot].anon_vma && k->table[slot].anon_vma != anon_vma)
		slot = (slot + 1) & k->mask;
	return slot;
}

static void kin_grow(struct kinship *k)
{
	u64 old_size = k->table ? k->mask + 1 : 0, size = k->table ? old_size * 2 : 256, i;
	struct kin *old = k->table, *table = ps_zalloc(size * sizeof(*table));

	if (!table) {
		k->c->out_of_memory = true;
		return;
	}
	k->table = table;
	k->mask = size - 1;
	for (i = 0; i < old_size; i++)
		if (old[i].anon_vma)
			table[kin_slot(k, old[i].anon_vma)] = old[i];
	ps_free(old);
}

/* Never NULL; a dummy out of memory. */
static struct kin *kin_of(struct kinship *k, const struct anon_vma *anon_vma)
{
	static struct kin dummy;
	u64 slot;

	if (!k->table || k->used * 2 > k->mask)
		kin_grow(k);
	if (k->c->out_of_memory)
		return &dummy;
	slot = kin_slot(k, anon_vma);
	if (!k->table[slot].anon_vma) {
		k->table[slot].anon_vma = anon_vma;
		k->used++;
	}
	return &k->table[slot];
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

/* An entry of either size: a present one, or a migration entry of an anonymous page, which must be found to be removed. */
static void check_mapping(struct census *c, struct vm_area_struct *vma, u64 addr, u64 pfn, bool present)
{
	struct page *page = ps_pfn_present(c->machine, pfn) ? pfn_to_online_page(pfn) : NULL;

	/* What is free, or no page at all, was reported as I1: it has no offset that could be wrong. */
	if (!page || page_ref_count(compound_head(page)) <= 0)
		return;
	if (present || PageAnon(page))
		check_entry(c, vma, addr, page);
}

static void check_vma_entries(struct census *c, struct vm_area_struct *vma)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 addr = vma->vm_start;
	pmd_t *pmd;

	while ((pmd = pmd_next(pt, &addr, vma->vm_end))) {
		u64 next = pmd_addr_end(pt, addr, vma->vm_end);

		if (is_pmd_migration_entry(*pmd)) {
			check_mapping(c, vma, addr, swp_offset(pmd_to_swp_entry(*pmd)), false);
		} else if (pmd_leaf_or_swap(*pmd)) {
			if (!is_huge_zero_pmd(*pmd))
				check_mapping(c, vma, addr, pmd_pfn(*pmd), true);
		} else {
			pte_t *pte = pte_offset_map(pt, *pmd, addr);

			for (; addr < next; addr += PAGE_SIZE, pte++) {
				if (is_pte_migration_entry(*pte))
					check_mapping(c, vma, addr, swp_offset(pte_to_swp_entry(*pte)), false);
				else if (pte_present(*pte) && !pte_special(*pte))
					check_mapping(c, vma, addr, pte_pfn(*pte), true);
			}
		}
		addr = next;
	}
}

static void check_chains(struct kinship *k, struct vm_area_struct *vma)
{
	struct census *c = k->c;
	struct anon_vma_chain *avc;
	struct anon_vma *root = vma->anon_vma ? vma->anon_vma->root : NULL;

	if (vma->anon_vma)
		kin_of(k, vma->anon_vma)->active++;
	if (vma->anon_vma && !chain_to(vma, vma->anon_vma))
		violation(c, 12, U64_MAX, "mm %u: VMA %#lx is not chained to its own anon_vma", vma->vm_mm->pt.asid,
			  (unsigned long)vma->vm_start);
	list_for_each_entry(avc, &vma->anon_vma_chain, same_vma) {
		struct kin *kin = kin_of(k, avc->anon_vma);

		c->nr_chains++;
		kin->chains++;
		kin->vma = vma;
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

static unsigned long tree_size(const struct interval_tree_root *root)
{
	struct interval_tree_node *node;
	unsigned long n = 0;

	for (node = interval_tree_first(root); node; node = interval_tree_next(node))
		n++;
	return n;
}

/* The families: who counts whom. Only what some chain leads to is looked at; what else lives was leaked. */
static void check_families(struct kinship *k)
{
	struct census *c = k->c;
	unsigned long alive = 0;
	u64 i;

	for (i = 0; k->table && i <= k->mask; i++) {
		const struct anon_vma *anon_vma = k->table[i].anon_vma;

		if (!anon_vma || !k->table[i].chains)
			continue;
		alive++;
		if (k->table[kin_slot(k, anon_vma->root)].chains && anon_vma->root != anon_vma)
			k->table[kin_slot(k, anon_vma->root)].members++;
		if (k->table[kin_slot(k, anon_vma->parent)].chains)
			k->table[kin_slot(k, anon_vma->parent)].children++;
		if (!k->table[kin_slot(k, anon_vma->root)].chains || !k->table[kin_slot(k, anon_vma->parent)].chains)
			violation(c, 12, U64_MAX, "mm %u: the anon_vma of VMA %#lx has outlived its parent or root",
				  k->table[i].vma->vm_mm->pt.asid, (unsigned long)k->table[i].vma->vm_start);
	}
	for (i = 0; k->table && i <= k->mask; i++) {
		const struct kin *kin = &k->table[i];
		const struct anon_vma *anon_vma = kin->anon_vma;

		if (!anon_vma || !kin->chains)
			continue;
		if (anon_vma->num_active_vmas != kin->active || anon_vma->num_children != kin->children ||
		    tree_size(&anon_vma->rb_root) != kin->chains ||
		    (!c->settings->busy && atomic_read(&anon_vma->refcount) != 1 + (int)kin->members))
			violation(c, 12, U64_MAX,
				  "mm %u: the anon_vma of VMA %#lx counts %lu VMAs as its own, %lu children and %d "
				  "references, its tree has %lu VMAs; there are %lu, %lu, %lu and %lu",
				  kin->vma->vm_mm->pt.asid, (unsigned long)kin->vma->vm_start,
				  anon_vma->num_active_vmas, anon_vma->num_children, atomic_read(&anon_vma->refcount),
				  tree_size(&anon_vma->rb_root), kin->active, kin->children, 1 + kin->members,
				  kin->chains);
	}
	if (!c->settings->busy && alive != (unsigned long)ps_anon_vmas_live())
		violation(c, 10, U64_MAX, "%lu anon_vmas have VMAs, %ld are allocated", alive, ps_anon_vmas_live());
}

void check_rmap(struct census *c)
{
	struct kinship k = { .c = c };
	struct vm_area_struct *vma;
	struct mm_struct *mm;

	list_for_each_entry(mm, &c->machine->mms->list, mmlist) {
		list_for_each_entry(vma, &mm->mmap, vm_link) {
			check_chains(&k, vma);
			check_vma_entries(c, vma);
		}
	}
	if (!c->out_of_memory)
		check_families(&k);
	ps_free(k.table);
	if (c->nr_chains != (u64)ps_anon_vma_chains_live())
		violation(c, 10, U64_MAX, "%lu anon_vma chains in VMAs, %ld allocated", (unsigned long)c->nr_chains,
			  ps_anon_vma_chains_live());
}
