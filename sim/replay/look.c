/* SPDX-License-Identifier: MIT */
/*
 * What pagemap, kpageflags, kpagecount and smaps of /proc would say.
 */
#include "replay/look.h"

#include <string.h>

#include <pagesim/compound.h>
#include <pagesim/fault.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/rmap.h>
#include <pagesim/shmem.h>
#include <pagesim/swap.h>

/* ---- show */

/* Flags a struct page has in its own word, by the names and in the order the transcript prints them; after "mmap". */
static void describe_flags(GString *out, struct page *page)
{
	gsize start = out->len;
	bool mapped = page_mapped(compound_head(page));
	const struct {
		const char *name;
		bool set;
	} flags[] = {
		{ "uptodate", page->flags >> PG_uptodate & 1 },
		{ "dirty", page->flags >> PG_dirty & 1 },
		{ "writeback", page->flags >> PG_writeback & 1 },
		{ "lru", page->flags >> PG_lru & 1 },
		{ "anon", PageAnon(page) },
		{ "swapcache", PageSwapCache(page) },
		{ "swapbacked", page->flags >> PG_swapbacked & 1 },
		{ "mmap", mapped },
		{ "unevictable", page->flags >> PG_unevictable & 1 },
		{ "mlocked", page->flags >> PG_mlocked & 1 },
		{ "hwpoison", page->flags >> PG_hwpoison & 1 },
		{ "reserved", page->flags >> PG_reserved & 1 },
		{ "private", page->flags >> PG_private & 1 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++)
		if (flags[i].set)
			g_string_append_printf(out, "%s%s", out->len > start ? "," : "", flags[i].name);
	if (out->len == start)
		g_string_append_c(out, '-');
}

static void describe_page(GString *out, struct page *page, bool soft_dirty)
{
	struct page *head = compound_head(page);
	int pmd_maps = PageCompound(page) ? compound_mapcount(head) : 0;
	int pins = PageCompound(page) ? head_compound_pincount(head) : page_ref_count(head) / GUP_PIN_COUNTING_BIAS;
	bool exclusive = false;

	if (PageAnon(page)) {
		exclusive = page->flags >> PG_anon_exclusive & 1;
		/* Mapped by a PMD the head speaks for all. */
		if (!exclusive && pmd_maps)
			exclusive = head->flags >> PG_anon_exclusive & 1;
	}
	g_string_append_printf(out, "node=%d ref=%d map=%d", page_to_nid(page), page_ref_count(head),
			       page_mapcount(page));
	if (PageCompound(page))
		g_string_append_printf(out, " %s order=%u compound_map=%d", page == head ? "head" : "tail",
				       compound_order(head), pmd_maps);
	if (pins)
		g_string_append_printf(out, " pinned=%d", pins);
	g_string_append_printf(out, " pte=present%s%s flags=", exclusive ? ",exclusive" : "",
			       soft_dirty ? ",soft-dirty" : "");
	describe_flags(out, page);
}

void look_describe(GString *out, struct mm_struct *mm, u64 addr)
{
	struct vm_area_struct *vma = vma_lookup(mm, addr);
	pmd_t *pmd = vma ? pmd_find(&mm->pt, addr) : NULL;
	bool vma_dirty = vma && (vma->vm_flags & VM_SOFTDIRTY);
	pte_t pte;

	if (!pmd || pmd_none(*pmd)) {
		g_string_append(out, "none");
		return;
	}
	if (pmd_leaf_or_swap(*pmd)) {
		if (is_huge_zero_pmd(*pmd))
			g_string_append(out, "huge-zero");
		else if (!pmd_present(*pmd))
			g_string_append(out, is_pmd_migration_entry(*pmd) ? "migration" : "swap");
		else
			describe_page(out,
				      pfn_to_page(pmd_pfn(*pmd)) + ((addr >> PAGE_SHIFT) & (hpage_pmd_nr(&mm->pt) - 1)),
				      vma_dirty || pmd_soft_dirty(*pmd));
		return;
	}
	pte = *pte_offset_map(&mm->pt, *pmd, addr);
	if (pte_none(pte))
		g_string_append(out, "none");
	else if (!pte_present(pte))
		g_string_append(out, is_pte_migration_entry(pte) ? "migration" : "swap");
	else if (is_zero_pte(pte))
		g_string_append(out, "zero");
	else
		describe_page(out, pfn_to_page(pte_pfn(pte)), vma_dirty || pte_soft_dirty(pte));
}

/* ---- smaps */

enum smaps_field {
	SMAPS_RSS,
	SMAPS_PSS,
	SMAPS_SHARED_CLEAN,
	SMAPS_SHARED_DIRTY,
	SMAPS_PRIVATE_CLEAN,
	SMAPS_PRIVATE_DIRTY,
	SMAPS_ANONYMOUS,
	SMAPS_LAZYFREE,
	SMAPS_ANON_HUGE,
	SMAPS_SHMEM_PMD,
	SMAPS_SWAP,
	SMAPS_SWAP_PSS,
	SMAPS_LOCKED,
	NR_SMAPS_FIELDS,
};

static const char *const smaps_names[NR_SMAPS_FIELDS] = {
	"Rss",      "Pss",           "Shared_Clean",   "Shared_Dirty", "Private_Clean", "Private_Dirty", "Anonymous",
	"LazyFree", "AnonHugePages", "ShmemPmdMapped", "Swap",         "SwapPss",       "Locked",
};

/* Shares of a page are kept in 4096ths of a byte, as the kernel does, so that its rounding comes out. */
#define PSS_SHIFT 12

static bool in_shares(enum smaps_field field)
{
	return field == SMAPS_PSS || field == SMAPS_SWAP_PSS || field == SMAPS_LOCKED;
}

struct smaps {
	u64 value[NR_SMAPS_FIELDS]; /* bytes; those in shares in 4096ths of a byte */
	bool locked;
};

static void smaps_page_accumulate(struct smaps *s, struct page *page, u64 size, u64 pss, bool dirty, bool private_page)
{
	s->value[SMAPS_PSS] += pss;
	if (s->locked)
		s->value[SMAPS_LOCKED] += pss;
	if (dirty || PageDirty(page))
		s->value[private_page ? SMAPS_PRIVATE_DIRTY : SMAPS_SHARED_DIRTY] += size;
	else
		s->value[private_page ? SMAPS_PRIVATE_CLEAN : SMAPS_SHARED_CLEAN] += size;
}

static void smaps_account(struct smaps *s, struct page *page, unsigned int nr, bool dirty)
{
	u64 size = (u64)nr << PAGE_SHIFT;
	unsigned int i;

	if (PageAnon(page)) {
		s->value[SMAPS_ANONYMOUS] += size;
		if (!PageSwapBacked(page) && !dirty && !PageDirty(page))
			s->value[SMAPS_LAZYFREE] += size;
	}
	s->value[SMAPS_RSS] += size;
	if (page_count(page) == 1) {
		smaps_page_accumulate(s, page, size, size << PSS_SHIFT, dirty, true);
		return;
	}
	for (i = 0; i < nr; i++) {
		int maps = page_mapcount(page + i);
		u64 pss = PAGE_SIZE << PSS_SHIFT;

		if (maps >= 2)
			pss /= (u64)maps;
		smaps_page_accumulate(s, page + i, PAGE_SIZE, pss, dirty, maps < 2);
	}
}

static void smaps_swapped(struct smaps *s, swp_entry_t entry)
{
	unsigned int users = swp_swapcount(entry);
	u64 pss = PAGE_SIZE << PSS_SHIFT;

	s->value[SMAPS_SWAP] += PAGE_SIZE;
	s->value[SMAPS_SWAP_PSS] += users >= 2 ? pss / users : pss;
}

/* Does the place map nothing? Then it shows what the file has there. */
static bool nothing_at(const struct vm_area_struct *vma, u64 addr)
{
	const struct page_tables *pt = &vma->vm_mm->pt;
	pmd_t *pmd = pmd_find(pt, addr);

	if (!pmd || pmd_none(*pmd))
		return true;
	return pmd_table(*pmd) && pte_none(*pte_offset_map(pt, *pmd, addr));
}

/* Shared memory that is in swap has no entries: the file knows. In a private mapping a copy may hide it. */
static void smaps_shmem_swap(struct smaps *s, struct vm_area_struct *vma)
{
	struct address_space *mapping = vma->vm_mapping;
	bool may_hide = !(vma->vm_flags & VM_SHARED) && (vma->vm_flags & VM_WRITE);
	unsigned long index;
	void *entry;

	if (!mapping || !shmem_mapping(mapping))
		return;
	xa_for_each_range(&mapping->i_pages, index, entry, vma->vm_pgoff, vma->vm_pgoff + vma_pages(vma) - 1)
	{
		if (!xa_is_value(entry))
			continue;
		if (!may_hide || nothing_at(vma, vma->vm_start + ((index - vma->vm_pgoff) << PAGE_SHIFT)))
			s->value[SMAPS_SWAP] += PAGE_SIZE;
	}
}

static void smaps_vma(struct smaps *s, struct vm_area_struct *vma)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 addr = vma->vm_start;
	pmd_t *pmd;

	smaps_shmem_swap(s, vma);

	s->locked = vma->vm_flags & VM_LOCKED;
	while ((pmd = pmd_next(pt, &addr, vma->vm_end))) {
		u64 next = pmd_addr_end(pt, addr, vma->vm_end);

		if (pmd_leaf_or_swap(*pmd)) {
			/* Linux asks as for an access: a huge page without any is passed over, small ones are counted. */
			if (pmd_present(*pmd) && !pmd_protnone(*pmd) && !is_huge_zero_pmd(*pmd)) {
				struct page *page = pfn_to_page(pmd_pfn(*pmd));

				if (PageAnon(page))
					s->value[SMAPS_ANON_HUGE] += pmd_size(pt);
				else if (PageSwapBacked(page))
					s->value[SMAPS_SHMEM_PMD] += pmd_size(pt);
				smaps_account(s, page, hpage_pmd_nr(pt), pmd_dirty(*pmd));
			}
		} else {
			pte_t *ptep = pte_offset_map(pt, *pmd, addr);

			for (; addr < next; addr += PAGE_SIZE, ptep++) {
				if (pte_present(*ptep) && !pte_special(*ptep))
					smaps_account(s, pfn_to_page(pte_pfn(*ptep)), 1, pte_dirty(*ptep));
				else if (is_swap_pte(*ptep) && !is_pte_migration_entry(*ptep))
					smaps_swapped(s, pte_to_swp_entry(*ptep));
			}
		}
		addr = next;
	}
}

void look_smaps(GString *out, struct mm_struct *mm, u64 start, u64 end)
{
	u64 total[NR_SMAPS_FIELDS] = { 0 };
	struct vm_area_struct *vma;
	unsigned int vmas = 0, i;

	for_each_vma_range(mm, vma, start, end) {
		struct smaps s = { { 0 } };

		smaps_vma(&s, vma);
		vmas++;
		for (i = 0; i < NR_SMAPS_FIELDS; i++)
			total[i] += s.value[i] >> (in_shares((enum smaps_field)i) ? 10 + PSS_SHIFT : 10);
	}
	g_string_append_printf(out, "smaps: vmas=%u", vmas);
	for (i = 0; i < NR_SMAPS_FIELDS; i++)
		if (total[i])
			g_string_append_printf(out, " %s=%luK", smaps_names[i], (unsigned long)total[i]);
}
