/* SPDX-License-Identifier: MIT */
/*
 * Every page against the census: is it as often mapped, as often held and as much alive as it says?
 */
#include "check/census.h"

#include <string.h>

#include <pagesim/address_space.h>
#include <pagesim/buffer_head.h>
#include <pagesim/compound.h>
#include <pagesim/contents.h>
#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/mem.h>
#include <pagesim/mmzone.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/rmap.h>

/* Entries that map any part of the page, and references they hold. */
struct mappings {
	long present, migration;
};

static struct mappings count_mappings(struct census *c, struct page *head)
{
	unsigned long nr = compound_nr(head), i;
	pfn_t pfn = page_to_pfn(head);
	struct mappings m = { 0 };
	int mapped = 0;

	for (i = 0; i < nr; i++) {
		const struct sight *sight = sight_find(c, pfn + i);
		int ptes = sight ? (int)sight->ptes : 0, pmds = sight ? (int)sight->pmds : 0;

		if (page_has_type(head + i) ? ptes != 0 : atomic_read(&head[i]._mapcount) + 1 != ptes)
			violation(c, 4, pfn + i, "pfn %lu: _mapcount says %d PTEs, %d map it", (unsigned long)(pfn + i),
				  atomic_read(&head[i]._mapcount) + 1, ptes);
		mapped += atomic_read(&head[i]._mapcount) >= 0;
		if (i && pmds)
			violation(c, 4, pfn + i, "pfn %lu: a PMD maps a tail", (unsigned long)(pfn + i));
		m.present += ptes + pmds;
		m.migration += sight ? sight->migration : 0;
	}
	if (PageHead(head)) {
		const struct sight *sight = sight_find(c, pfn);
		int pmds = sight ? (int)sight->pmds : 0;

		if (head_compound_mapcount(head) != pmds)
			violation(c, 4, pfn, "pfn %lu: compound_mapcount says %d PMDs, %d map it", (unsigned long)pfn,
				  head_compound_mapcount(head), pmds);
		mapped += head_compound_mapcount(head) ? COMPOUND_MAPPED : 0;
		if (head_nr_pages_mapped(head) != mapped)
			violation(c, 4, pfn, "pfn %lu: nr_pages_mapped is %#x, the counts it sums up say %#x",
				  (unsigned long)pfn, (unsigned int)head_nr_pages_mapped(head), (unsigned int)mapped);
	}
	return m;
}

/*
 * An exclusive page has one mapper: of each small page, or of the whole by its one PMD. And who may write without a fault
 * owns the page: a writable entry of a shared page would write into what others read.
 */
static void check_exclusive(struct census *c, struct page *head)
{
	unsigned long nr = compound_nr(head), i;

	for (i = 0; i < nr; i++) {
		struct page *page = head + i;
		const struct sight *sight = sight_find(c, page_to_pfn(page));
		int maps = page_mapcount(page);

		if (!(page->flags >> PG_anon_exclusive & 1)) {
			if (sight && sight->writable)
				violation(c, 14, page_to_pfn(page),
					  "pfn %lu: writable by %u entries, but not exclusive",
					  (unsigned long)page_to_pfn(page), sight->writable);
			continue;
		}
		if (maps > 1)
			violation(c, 14, page_to_pfn(page), "pfn %lu: exclusive, but mapped %d times",
				  (unsigned long)page_to_pfn(page), maps);
	}
}

/* References the model itself knows of, but mappings. */
static long model_refs(struct page *head, bool *ret_cached)
{
	struct address_space *mapping = PageAnon(head) && !PageSwapCache(head) ? NULL : page_mapping(head);
	long refs = 0;

	*ret_cached = mapping != NULL;
	if (mapping)
		refs += (long)compound_nr(head);
	if (PagePrivate(head))
		refs++;
	return refs;
}

/*
 * A page some driver owns: in its books once, and whoever marks a page movable has it there. Return: references that are.
 */
static long check_owned(struct census *c, struct page *head)
{
	const struct sight *sight = sight_find(c, page_to_pfn(head));
	long owned = sight ? sight->owned : 0;
	pfn_t pfn = page_to_pfn(head);

	if (owned > 1)
		violation(c, 8, pfn, "pfn %lu: %ld times in the books of an owner", (unsigned long)pfn, owned);
	if (!c->settings->busy && __PageMovable(head)) {
		if (!owned)
			violation(c, 8, pfn, "pfn %lu: marked movable, but in nobody's books", (unsigned long)pfn);
		if (PageIsolated(head))
			violation(c, 18, pfn, "pfn %lu: isolated from its owner, though nobody is at work",
				  (unsigned long)pfn);
	}
	return owned;
}

static bool is_huge_zero(const struct census *c, const struct page *head)
{
	return c->machine->faults && head == c->machine->faults->huge_zero_page;
}

static void check_allocated(struct census *c, struct page *head)
{
	const struct ps_check_settings *s = c->settings;
	pfn_t pfn = page_to_pfn(head);
	struct mappings m = count_mappings(c, head);
	long known, extra = s->extra_refs ? s->extra_refs(s->arg, head) : 0;
	bool cached, locked = PageLocked(head);
	nid_t nid = page_to_nid(head);
	unsigned long i;

	known = m.present + extra + model_refs(head, &cached) + check_owned(c, head);
	if (is_huge_zero(c, head))
		known++;
	if (m.migration && !locked)
		violation(c, 2, pfn, "pfn %lu: %ld migration entries for an unlocked page", (unsigned long)pfn,
			  m.migration);
	if (PageAnon(head) && m.present)
		check_exclusive(c, head);
	if (!s->busy) {
		if (page_ref_count(head) != known)
			violation(c, known ? 3 : 10, pfn,
				  "pfn %lu: count %d, but %ld references are known (%ld mappings%s%s)",
				  (unsigned long)pfn, page_ref_count(head), known, m.present,
				  cached ? (PageSwapCache(head) ? ", swap cache" : ", page cache") : "",
				  PagePrivate(head) ? ", private" : "");
		if (locked)
			violation(c, 18, pfn, "pfn %lu: locked, though nobody is at work", (unsigned long)pfn);
		if (m.migration)
			violation(c, 18, pfn, "pfn %lu: %ld migration entries, though nobody is at work",
				  (unsigned long)pfn, m.migration);
	}
	/* A page that could not be read in, or written to for want of memory, stays in the cache without contents. */
	if (ps_contents_mode() == PS_CONTENTS_TAG && (m.present || (cached && PageUptodate(head)))) {
		for (i = 0; i < compound_nr(head); i++)
			if (page_word_read(head + i) == PS_CONTENTS_POISON)
				violation(c, 6, pfn + i, "pfn %lu: in use, but holds what freeing left there",
					  (unsigned long)(pfn + i));
	}
	if (cached && mapping_can_writeback(page_mapping(head)) && !PageDirty(head)) {
		const struct sight *sight = sight_find(c, pfn);

		if (sight && sight->writable)
			violation(c, 7, pfn, "pfn %lu: clean, but %u entries let it be written unnoticed",
				  (unsigned long)pfn, sight->writable);
	}
	/* Sums for the node counters. */
	for (i = 0; i < compound_nr(head); i++) {
		/* Where a type is, there is no mapcount. */
		if (page_has_type(head + i) || !page_mapcount(head + i))
			continue;
		if (PageAnon(head))
			c->anon_mapped[nid]++;
		else
			c->file_mapped[nid]++;
	}
	if (PageSwapCache(head))
		c->swapcached[nid] += (long)compound_nr(head);
	if (PageHead(head) && head_compound_mapcount(head)) {
		if (PageAnon(head))
			c->anon_thps[nid] += (long)compound_nr(head);
		else if (PageSwapBacked(head))
			c->shmem_pmd[nid] += (long)compound_nr(head);
	}
}

static void check_node_counter(struct census *c, nid_t nid, enum node_stat_item item, long counted, const char *name)
{
	long value = (long)node_page_state(nid, item);

	if (value != counted)
		violation(c, 9, U64_MAX, "node %d: %s is %ld, counted %ld", nid, name, value, counted);
}

void check_pages(struct census *c)
{
	struct ps_machine *machine = c->machine;
	nid_t nid;

	for_each_node_mask(nid, machine->memory_nodes)
	{
		pfn_t pfn = machine->nodes[nid].start_pfn, end = pfn + machine->nodes[nid].present_pages;

		while (pfn < end) {
			struct page *page = pfn_to_online_page(pfn);

			if (!page) {
				/* Behind the frontier: nothing was ever allocated up to the end of the zone. */
				pfn = (pfn | (pageblock_nr_pages - 1)) + 1;
				continue;
			}
			if (PageBuddy(page)) {
				pfn += 1UL << page->private_data;
				continue;
			}
			if (!PageTail(page) && page_ref_count(page) > 0) {
				check_allocated(c, page);
				pfn += compound_nr(page);
				continue;
			}
			pfn++;
		}
		check_node_counter(c, nid, NR_ANON_MAPPED, c->anon_mapped[nid], "nr_anon_pages");
		check_node_counter(c, nid, NR_FILE_MAPPED, c->file_mapped[nid], "nr_mapped");
		check_node_counter(c, nid, NR_ANON_THPS, c->anon_thps[nid], "nr_anon_transparent_hugepages");
		check_node_counter(c, nid, NR_SHMEM_PMDMAPPED, c->shmem_pmd[nid], "nr_shmem_pmdmapped");
		check_node_counter(c, nid, NR_SWAPCACHE, c->swapcached[nid], "nr_swapcached");
		if (!c->settings->busy) {
			check_node_counter(c, nid, NR_ISOLATED_ANON, 0, "nr_isolated_anon");
			check_node_counter(c, nid, NR_ISOLATED_FILE, 0, "nr_isolated_file");
		}
	}
}
