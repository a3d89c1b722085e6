/* SPDX-License-Identifier: MIT */
/*
 * Proof that check_machine() can fail: for every numbered invariant, corruptions are planted in a machine in full use, one
 * at a time, through the structures themselves. Each must be reported under its own number and no other, with the right
 * frame; healed, the machine is sound again. docs/invariants.md lists them.
 *
 * To add one: a plant and a heal function, and a line in the table.
 */
#include "check/city.h"

#include <pagesim/compound.h>
#include <pagesim/movable.h>
#include <pagesim/tlbflush.h>
#include <pagesim/writeback.h>
#include <pagesim/xarray.h>

#include "rmap/rmap_state.h"

/* What one plant did, and what the check is to say. */
struct wound {
	struct city city;
	u64 pfn;           /* expected; U64_MAX: none */
	const char *where; /* part of the text expected */
	struct page *page; /* for heal() */
	void *object;
	u64 word;
};

struct plant {
	const char *claim;
	int invariant;
	void (*plant)(struct wound *w);
	void (*heal)(struct wound *w);
	enum {
		AT_REST,   /* seen only then */
		ANY_TIME,  /* seen whether at rest or busy */
		WHEN_BUSY, /* at rest other rules are broken besides */
	} seen;
};

static struct mm_struct *mm_a(const struct wound *w)
{
	return w->city.a->mm;
}

/* The page of an address of A, which is who the host is. */
static struct page *victim(struct wound *w, u64 addr)
{
	w->page = page_at(addr);
	assert_non_null(w->page);
	w->pfn = page_to_pfn(w->page);
	return w->page;
}

static pte_t *ptep_at(u64 addr)
{
	return pte_offset_map(&current->mm->pt, pmd_at(addr), addr);
}

static struct vm_area_struct *wounded_vma(struct wound *w, u64 addr)
{
	w->object = vma_at(addr);
	assert_non_null(w->object);
	return (struct vm_area_struct *)w->object;
}

static struct anon_vma_chain *first_chain(struct vm_area_struct *vma)
{
	return list_first_entry(&vma->anon_vma_chain, struct anon_vma_chain, same_vma);
}

/* ---- I1: no use of a freed object */

static void map_free_page(struct wound *w)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0);

	w->pfn = page_to_pfn(page);
	put_page(page);
	store(w->city.blank, 1); /* makes the table */
	lru_add_drain_all();
	set_pte_at(ptep_at(w->city.blank + pages(1)), pfn_pte(w->pfn, PAGE_READONLY));
	add_mm_counter(mm_a(w), MM_FILEPAGES, 1);
	w->where = "maps";
}

static void unmap_free_page(struct wound *w)
{
	set_pte_at(ptep_at(w->city.blank + pages(1)), __pte(0));
	add_mm_counter(mm_a(w), MM_FILEPAGES, -1);
}

static void map_no_page(struct wound *w)
{
	store(w->city.blank, 1);
	lru_add_drain_all();
	w->pfn = scene->machine->max_pfn + 77;
	set_pte_at(ptep_at(w->city.blank + pages(1)), pfn_pte(w->pfn, PAGE_READONLY));
	w->where = "no page";
}

static void unmap_no_page(struct wound *w)
{
	set_pte_at(ptep_at(w->city.blank + pages(1)), __pte(0));
}

/* ---- I2, I18: migration entries */

static void unmap_into_migration_entries(struct wound *w, u64 addr)
{
	struct page *page = victim(w, addr);

	get_page(page);
	hold(page, 1);
	lock_page(page);
	try_to_migrate(page, 0, NULL);
	assert_false(page_mapped(page));
}

static void restore_from_migration_entries(struct wound *w)
{
	remove_migration_ptes(w->page, w->page, false);
	unlock_page(w->page);
	unhold(w->page, 1);
	put_page(w->page);
}

static void unlock_under_migration(struct wound *w)
{
	unmap_into_migration_entries(w, w->city.shared);
	unlock_page(w->page);
	w->where = "2 migration entries for an unlocked page";
}

static void relock_and_restore(struct wound *w)
{
	lock_page(w->page);
	restore_from_migration_entries(w);
}

static void unlock_huge_under_migration(struct wound *w)
{
	unmap_into_migration_entries(w, w->city.twins);
	unlock_page(w->page);
	w->where = "2 migration entries for an unlocked page";
}

static void stay_under_migration(struct wound *w)
{
	unmap_into_migration_entries(w, w->city.own);
	w->where = "though nobody is at work";
}

/* ---- I3: the refcount */

static void one_reference_too_many(struct wound *w)
{
	page_ref_inc(victim(w, w->city.own));
	w->where = "count 2, but 1 references";
}

static void take_reference_away(struct wound *w)
{
	page_ref_dec(w->page);
}

static void one_reference_too_few(struct wound *w)
{
	page_ref_dec(victim(w, w->city.shared));
	w->where = "count 1, but 2 references";
}

static void give_reference_back(struct wound *w)
{
	page_ref_inc(w->page);
}

static void one_reference_too_many_of_huge(struct wound *w)
{
	page_ref_inc(victim(w, w->city.twins));
	w->where = "count 3, but 2 references";
}

static void one_reference_too_many_of_cached(struct wound *w)
{
	page_ref_inc(victim(w, w->city.file));
	w->where = "(1 mappings, page cache, private)";
}

/* ---- I4: the mapcount */

static void one_mapping_too_many(struct wound *w)
{
	atomic_inc(&victim(w, w->city.shared)->_mapcount);
	w->where = "_mapcount says 3 PTEs, 2 map it";
}

static void one_mapping_less(struct wound *w)
{
	atomic_dec(&w->page->_mapcount);
}

static void one_mapping_too_few(struct wound *w)
{
	atomic_dec(&victim(w, w->city.shared)->_mapcount);
	w->where = "_mapcount says 1 PTEs, 2 map it";
}

static void one_mapping_more(struct wound *w)
{
	atomic_inc(&w->page->_mapcount);
}

static void one_huge_mapping_too_many(struct wound *w)
{
	atomic_inc(compound_mapcount_ptr(victim(w, w->city.twins)));
	w->where = "compound_mapcount says 3 PMDs, 2 map it";
}

static void one_huge_mapping_less(struct wound *w)
{
	atomic_dec(compound_mapcount_ptr(w->page));
}

static void tail_mapping_too_many(struct wound *w)
{
	atomic_inc(&victim(w, w->city.twins + pages(1))->_mapcount);
	w->where = "_mapcount says 1 PTEs, 0 map it";
}

/* ---- I5: the TLBs */

static struct ps_tlb *tlb0(void)
{
	return &scene->machine->cpus[0].tlb;
}

static void forget_translation(struct wound *w)
{
	ps_tlb_flush_page(tlb0(), w->object ? 4711 : mm_a(w)->pt.asid, w->word);
}

static void translate(struct wound *w, u64 addr, u64 flags)
{
	w->word = addr >> PAGE_SHIFT;
	ps_tlb_insert(tlb0(), w->object ? 4711 : mm_a(w)->pt.asid, w->word, w->pfn, 0, flags);
}

static void translate_unmapped(struct wound *w)
{
	victim(w, w->city.own);
	translate(w, w->city.blank, 0);
	w->where = "the page table says 0";
}

static void translate_to_another_frame(struct wound *w)
{
	victim(w, w->city.own);
	translate(w, w->city.own + pages(1), 0);
	w->where = "the page table says";
}

static void translate_with_write(struct wound *w)
{
	victim(w, w->city.shared);
	translate(w, w->city.shared, PS_TLB_WRITE);
	w->where = "may write, the page table forbids it";
}

static void translate_in_dead_space(struct wound *w)
{
	victim(w, w->city.own);
	w->object = w; /* asid 4711 */
	translate(w, w->city.own, 0);
	w->where = "of address space 4711, which is gone";
}

static void translate_small_out_of_huge(struct wound *w)
{
	flush_tlb_mm(&mm_a(w)->pt);
	victim(w, w->city.huge);
	translate(w, w->city.huge, 0);
	w->where = "another size";
}

/* ---- I6: contents */

static void poison_mapped(struct wound *w)
{
	struct page *page = victim(w, w->city.own);

	w->word = page_word_read(page);
	page_word_write(page, PS_CONTENTS_POISON);
	w->where = "holds what freeing left there";
}

static void restore_word(struct wound *w)
{
	page_word_write(w->page, w->word);
}

static void poison_tail(struct wound *w)
{
	struct page *page = victim(w, w->city.huge + pages(2));

	w->word = page_word_read(page);
	page_word_write(page, PS_CONTENTS_POISON);
	w->where = "holds what freeing left there";
}

/* ---- I7: clean pages */

static void make_clean_page_writable(struct wound *w)
{
	victim(w, w->city.file);
	assert_false(PageDirty(w->page));
	assert_false(pte_write(pte_at(w->city.file)));
	set_pte_at(ptep_at(w->city.file), pte_mkwrite(pte_at(w->city.file)));
	w->where = "1 entries let it be written unnoticed";
}

static void make_page_readonly(struct wound *w)
{
	set_pte_at(ptep_at(w->city.file), pte_wrprotect(pte_at(w->city.file)));
}

static void clean_without_write_protection(struct wound *w)
{
	int (*mkclean)(struct page * page) = scene->machine->files->hooks.page_mkclean;
	struct inode *inode = open_file("/d/file");

	store(w->city.file, 1);
	lru_add_drain_all();
	victim(w, w->city.file);
	scene->machine->files->hooks.page_mkclean = NULL;
	assert_int_equal(file_fsync(inode), 0);
	scene->machine->files->hooks.page_mkclean = mkclean;
	assert_false(PageDirty(w->page));
	w->where = "let it be written unnoticed";
	iput(inode);
}

static void write_protect(struct wound *w)
{
	lock_page(w->page);
	assert_int_equal(page_mkclean(w->page), 1);
	unlock_page(w->page);
}

/* ---- I8: lists */

static void leave_the_list_by_flag(struct wound *w)
{
	ClearPageLRU(victim(w, w->city.own));
	w->pfn = U64_MAX; /* the counters are named first */
	w->where = "M5";
}

static void back_by_flag(struct wound *w)
{
	SetPageLRU(w->page);
}

static void claim_another_list(struct wound *w)
{
	struct page *page = victim(w, w->city.own);

	page->flags ^= 1UL << PG_active;
	w->where = "M5";
}

static void claim_the_list_it_is_on(struct wound *w)
{
	w->page->flags ^= 1UL << PG_active;
}

static void queue_small_page_for_splitting(struct wound *w)
{
	struct page *page = victim(w, w->city.huge);

	get_deferred_split_queue(page)->split_queue_len++;
	w->pfn = U64_MAX;
	w->where = "M8";
}

static void unqueue_small_page(struct wound *w)
{
	get_deferred_split_queue(w->page)->split_queue_len--;
}

/* ---- I9: counters */

static void wrong_rss(struct wound *w)
{
	add_mm_counter(mm_a(w), MM_ANONPAGES, 1);
	w->where = "rss of anon pages";
}

static void right_rss(struct wound *w)
{
	add_mm_counter(mm_a(w), MM_ANONPAGES, -1);
}

static void wrong_node_counter(struct wound *w)
{
	__mod_node_page_state(0, NR_ANON_MAPPED, 1);
	w->where = "node 0: nr_anon_pages";
}

static void right_node_counter(struct wound *w)
{
	__mod_node_page_state(0, NR_ANON_MAPPED, -1);
}

static void wrong_mapped_counter(struct wound *w)
{
	__mod_node_page_state(0, NR_FILE_MAPPED, -1);
	w->where = "node 0: nr_mapped";
}

static void right_mapped_counter(struct wound *w)
{
	__mod_node_page_state(0, NR_FILE_MAPPED, 1);
}

static void wrong_thp_counter(struct wound *w)
{
	__mod_node_page_state(0, NR_ANON_THPS, 1);
	w->where = "nr_anon_transparent_hugepages";
}

static void right_thp_counter(struct wound *w)
{
	__mod_node_page_state(0, NR_ANON_THPS, -1);
}

static void isolated_for_ever(struct wound *w)
{
	__mod_node_page_state(0, NR_ISOLATED_ANON, 1);
	w->where = "node 0: nr_isolated_anon is 1";
}

static void not_isolated(struct wound *w)
{
	__mod_node_page_state(0, NR_ISOLATED_ANON, -1);
}

/* ---- I10: leaks */

static void leak_page(struct wound *w)
{
	w->page = alloc_pages(GFP_KERNEL, 0);
	w->pfn = page_to_pfn(w->page);
	w->where = "0 references are known";
}

static void free_leaked_page(struct wound *w)
{
	put_page(w->page);
}

static void leak_vma(struct wound *w)
{
	w->object = vm_area_alloc(mm_a(w));
	w->where = "VMAs in address spaces";
}

static void free_leaked_vma(struct wound *w)
{
	vm_area_free((struct vm_area_struct *)w->object);
}

static void leak_table(struct wound *w)
{
	w->object = pte_alloc_one(&mm_a(w)->pt);
	w->where = "page tables in address spaces";
}

static void free_leaked_table(struct wound *w)
{
	pte_free(&mm_a(w)->pt, (pte_t *)w->object);
}

static void leak_chain(struct wound *w)
{
	w->object = ps_cache_alloc(&scene->machine->rmap->chains);
	w->where = "anon_vma chains in VMAs";
}

static void free_leaked_chain(struct wound *w)
{
	ps_cache_free(&scene->machine->rmap->chains, w->object);
}

static void leak_anon_vma(struct wound *w)
{
	struct page *page = page_at(w->city.own);

	w->object = page_get_anon_vma(page);
	assert_non_null(w->object);
	assert_int_equal(do_munmap(current->mm, w->city.own, pages(8)), 0);
	w->where = "anon_vmas have VMAs";
}

static void free_leaked_anon_vma(struct wound *w)
{
	put_anon_vma((struct anon_vma *)w->object);
}

/* ---- I11: VMAs */

static void move_end_alone(struct wound *w)
{
	wounded_vma(w, w->city.blank)->vm_end += PAGE_SIZE;
	w->where = "is not where the tree has it";
}

static void move_end_back(struct wound *w)
{
	((struct vm_area_struct *)w->object)->vm_end -= PAGE_SIZE;
}

static void miscount_vmas(struct wound *w)
{
	mm_a(w)->map_count++;
	w->where = "map_count";
}

static void count_vmas_right(struct wound *w)
{
	mm_a(w)->map_count--;
}

static void list_vma_first(struct wound *w)
{
	list_move(&wounded_vma(w, w->city.blank)->vm_link, &mm_a(w)->mmap);
	w->where = "overlaps the one before";
}

static void list_vma_last(struct wound *w)
{
	list_move_tail(&((struct vm_area_struct *)w->object)->vm_link, &mm_a(w)->mmap);
}

/* ---- I12: anon_vmas */

static void cut_from_the_tree(struct wound *w)
{
	struct anon_vma_chain *avc = first_chain(wounded_vma(w, w->city.own));

	interval_tree_remove(&avc->rb, &avc->anon_vma->rb_root);
	w->where = "is not in its anon_vma's tree";
}

static void back_into_the_tree(struct wound *w)
{
	struct anon_vma_chain *avc = first_chain((struct vm_area_struct *)w->object);

	interval_tree_insert(&avc->rb, &avc->anon_vma->rb_root);
}

static void hold_anon_vma(struct wound *w)
{
	get_anon_vma(wounded_vma(w, w->city.own)->anon_vma);
	w->where = "2 references";
}

static void unhold_anon_vma(struct wound *w)
{
	put_anon_vma(((struct vm_area_struct *)w->object)->anon_vma);
}

static void miscount_active_vmas(struct wound *w)
{
	wounded_vma(w, w->city.own)->anon_vma->num_active_vmas++;
	w->where = "counts 2 VMAs as its own";
}

static void count_active_vmas_right(struct wound *w)
{
	((struct vm_area_struct *)w->object)->anon_vma->num_active_vmas--;
}

static void miscount_children(struct wound *w)
{
	wounded_vma(w, w->city.shared)->anon_vma->num_children--;
	w->where = "1 children";
}

static void count_children_right(struct wound *w)
{
	((struct vm_area_struct *)w->object)->anon_vma->num_children++;
}

static void chain_out_of_the_family(struct wound *w)
{
	struct vm_area_struct *vma = wounded_vma(w, w->city.own);

	w->page = (struct page *)vma->anon_vma;
	vma->anon_vma = vma_at(w->city.shared)->anon_vma;
	w->where = "is not chained to its own anon_vma";
}

static void chain_back_into_the_family(struct wound *w)
{
	((struct vm_area_struct *)w->object)->anon_vma = (struct anon_vma *)w->page;
}

/* ---- I13: from the page to its entries */

static void move_page_in_its_anon_vma(struct wound *w)
{
	victim(w, w->city.own)->index++;
	w->where = "where offset";
}

static void move_page_back(struct wound *w)
{
	w->page->index--;
}

static void give_page_to_another_anon_vma(struct wound *w)
{
	struct page *page = victim(w, w->city.own);

	w->object = page->mapping;
	page->mapping = page_at(w->city.huge)->mapping;
	w->where = "its anon_vma does not lead to";
}

static void give_page_back(struct wound *w)
{
	w->page->mapping = (struct address_space *)w->object;
}

static void move_page_under_migration(struct wound *w)
{
	unmap_into_migration_entries(w, w->city.own);
	w->page->index++;
	w->where = "where offset";
}

static void move_back_and_restore(struct wound *w)
{
	w->page->index--;
	restore_from_migration_entries(w);
}

/* ---- I14: exclusive pages */

static void call_shared_page_exclusive(struct wound *w)
{
	SetPageAnonExclusive(victim(w, w->city.shared));
	w->where = "exclusive, but mapped 2 times";
}

static void call_it_shared(struct wound *w)
{
	ClearPageAnonExclusive(w->page);
}

static void call_shared_huge_page_exclusive(struct wound *w)
{
	SetPageAnonExclusive(victim(w, w->city.twins));
	w->where = "exclusive, but mapped 2 times";
}

static void make_shared_page_writable(struct wound *w)
{
	victim(w, w->city.shared);
	set_pte_at(ptep_at(w->city.shared), pte_mkwrite(pte_at(w->city.shared)));
	w->where = "writable by 1 entries, but not exclusive";
}

static void make_shared_page_readonly(struct wound *w)
{
	set_pte_at(ptep_at(w->city.shared), pte_wrprotect(pte_at(w->city.shared)));
}

/* ---- I15: file entries */

static void swap_file_entries(struct wound *w)
{
	pte_t first = pte_at(w->city.tmp);

	flush_tlb_mm(&mm_a(w)->pt);
	victim(w, w->city.tmp + pages(1));
	set_pte_at(ptep_at(w->city.tmp), pte_at(w->city.tmp + pages(1)));
	set_pte_at(ptep_at(w->city.tmp + pages(1)), first);
	w->where = "where offset 0 belongs, not 1";
}

static void map_page_of_another_file(struct wound *w)
{
	victim(w, w->city.tmp);
	w->object = w->page->mapping;
	wounded_vma(w, w->city.tmp)->vm_mapping = vma_at(w->city.file)->vm_mapping;
	w->where = "is not in that file";
}

static void map_page_of_its_file(struct wound *w)
{
	vma_at(w->city.tmp)->vm_mapping = w->page->mapping;
}

static void cut_from_the_file_tree(struct wound *w)
{
	struct vm_area_struct *vma = wounded_vma(w, w->city.file);

	interval_tree_remove(&vma->shared, &vma->vm_mapping->i_mmap);
	w->where = "is not in its file's tree";
}

static void back_into_the_file_tree(struct wound *w)
{
	struct vm_area_struct *vma = (struct vm_area_struct *)w->object;

	interval_tree_insert(&vma->shared, &vma->vm_mapping->i_mmap);
}

/* ---- I16: page tables */

static void miscount_tables(struct wound *w)
{
	mm_inc_nr_ptes(&mm_a(w)->pt);
	w->where = "PTE tables counted";
}

static void count_tables_right(struct wound *w)
{
	mm_dec_nr_ptes(&mm_a(w)->pt);
}

static void entry_outside_every_vma(struct wound *w)
{
	set_pte_at(ptep_at(w->city.own + pages(8)), pte_mkspecial(pfn_pte(page_to_pfn(ps_zero_page()), PAGE_READONLY)));
	w->where = "outside every VMA";
}

static void no_entry_outside(struct wound *w)
{
	set_pte_at(ptep_at(w->city.own + pages(8)), __pte(0));
}

static void entry_of_no_kind(struct wound *w)
{
	store(w->city.blank, 1);
	lru_add_drain_all();
	set_pte_at(ptep_at(w->city.blank + pages(1)), swp_entry_to_pte(swp_entry(3, 5)));
	w->where = "of no known kind";
}

static void no_entry_of_no_kind(struct wound *w)
{
	set_pte_at(ptep_at(w->city.blank + pages(1)), __pte(0));
}

/* ---- I19: swap */

static u32 *slot_at(u64 addr)
{
	return &scene->machine->swap->map[swp_offset(swap_entry_at(addr))];
}

static void miscount_slot_users(struct wound *w)
{
	(*slot_at(w->city.away))++;
	w->where = "1 entries and 0 files refer to it";
}

static void count_slot_users_right(struct wound *w)
{
	(*slot_at(w->city.away))--;
}

static void refer_to_a_free_slot(struct wound *w)
{
	w->word = pte_at(w->city.away).val;
	set_pte_at(ptep_at(w->city.away), swp_entry_to_pte(swp_entry(0, 30)));
	w->where = "slot 30: free, but referred to";
}

static void refer_to_no_slot(struct wound *w)
{
	w->word = pte_at(w->city.away).val;
	set_pte_at(ptep_at(w->city.away), swp_entry_to_pte(swp_entry(0, 99)));
	w->where = "slot 99, which is none";
}

static void refer_to_the_slot_again(struct wound *w)
{
	set_pte_at(ptep_at(w->city.away), __pte(w->word));
}

static void refer_to_a_slot_of_shared_memory(struct wound *w)
{
	struct inode *inode = open_file("/t/tmp");

	w->object = xa_load(&inode->i_mapping->i_pages, 7);
	w->word = pte_at(w->city.away).val;
	set_pte_at(ptep_at(w->city.away), swp_entry_to_pte(radix_to_swp_entry(w->object)));
	iput(inode);
	w->where = "1 entries and 1 files refer to it";
}

static void forget_what_is_in_swap(struct wound *w)
{
	struct inode *inode = open_file("/t/tmp");

	(void)w;
	atomic_long_dec(&inode->swapped);
	iput(inode);
	w->where = "says that 0 pages are in swap, there are 1";
}

static void remember_what_is_in_swap(struct wound *w)
{
	struct inode *inode = open_file("/t/tmp");

	(void)w;
	atomic_long_inc(&inode->swapped);
	iput(inode);
}

static void claim_slot_for_ever(struct wound *w)
{
	*slot_at(w->city.away) |= SWAP_HAS_CACHE;
	w->where = "slots say that they are cached";
}

static void give_slot_back(struct wound *w)
{
	*slot_at(w->city.away) &= ~SWAP_HAS_CACHE;
}

static void another_slot_than_the_cache_s(struct wound *w)
{
	struct page *page = page_at(w->city.away + pages(4));

	set_page_private(page, swp_entry(0, swp_offset(page_swap_entry(page)) + 1).val);
	w->where = "its page says";
}

static void the_cache_s_slot(struct wound *w)
{
	struct page *page = page_at(w->city.away + pages(4));

	set_page_private(page, swp_entry(0, swp_offset(page_swap_entry(page)) - 1).val);
}

static void take_deposit(struct wound *w)
{
	w->object = pgtable_trans_huge_withdraw(&mm_a(w)->pt, pmd_find(&mm_a(w)->pt, w->city.huge));
	w->where = "tables deposited around";
}

static void give_deposit_back(struct wound *w)
{
	pgtable_trans_huge_deposit(&mm_a(w)->pt, pmd_find(&mm_a(w)->pt, w->city.huge), (pte_t *)w->object);
}

static void huge_entry_outside_every_vma(struct wound *w)
{
	struct page_tables *pt = &mm_a(w)->pt;
	pmd_t *pmd = pmd_alloc(pt, w->city.huge + pmd_size(pt));

	pgtable_trans_huge_deposit(pt, pmd, pte_alloc_one(pt));
	mm_inc_nr_ptes(pt);
	set_pmd_at(pmd, pmd_mkspecial(pfn_pmd_huge(page_to_pfn(ps_zero_page()), PAGE_READONLY)));
	w->where = "huge entry at";
}

static void no_huge_entry_outside(struct wound *w)
{
	struct page_tables *pt = &mm_a(w)->pt;
	pmd_t *pmd = pmd_find(pt, w->city.huge + pmd_size(pt));

	set_pmd_at(pmd, __pmd(0));
	pte_free(pt, pgtable_trans_huge_withdraw(pt, pmd));
	mm_dec_nr_ptes(pt);
}

/* ---- I17: files */

static void miscount_cached_pages(struct wound *w)
{
	vma_at(w->city.tmp)->vm_mapping->nrpages++;
	w->where = "nrpages";
}

static void count_cached_pages_right(struct wound *w)
{
	vma_at(w->city.tmp)->vm_mapping->nrpages--;
}

static void dirty_without_tag(struct wound *w)
{
	store(w->city.file, 1);
	lru_add_drain_all();
	xa_clear_mark(&vma_at(w->city.file)->vm_mapping->i_pages, 0, PAGECACHE_TAG_DIRTY);
	w->where = "files:";
}

static void tag_dirty(struct wound *w)
{
	xa_set_mark(&vma_at(w->city.file)->vm_mapping->i_pages, 0, PAGECACHE_TAG_DIRTY);
}

/* ---- I8, I18: pages with an owner */

/* An owner with one page, which it says it has `times` times. */
static struct {
	struct ps_page_owner owner;
	struct page *page;
	unsigned int times;
} keeper;

static void keeper_visit(struct ps_page_owner *owner, void (*fn)(void *arg, struct page *page), void *arg)
{
	unsigned int i;

	(void)owner;
	for (i = 0; i < keeper.times; i++)
		fn(arg, keeper.page);
}

static bool keeper_isolate(struct page *page)
{
	(void)page;
	return true;
}

static void keeper_putback(struct page *page)
{
	(void)page;
}

static const struct movable_operations keeper_mops = { .isolate_page = keeper_isolate, .putback_page = keeper_putback };

static void keep_page(struct wound *w)
{
	keeper.page = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);
	keeper.times = 1;
	keeper.owner = (struct ps_page_owner){ .name = "keeper", .visit = keeper_visit };
	ps_page_owner_register(&keeper.owner);
	lock_page(keeper.page);
	__SetPageMovable(keeper.page, &keeper_mops);
	unlock_page(keeper.page);
	w->pfn = page_to_pfn(keeper.page);
	expect_sound();
}

static void give_page_up(struct wound *w)
{
	(void)w;
	lock_page(keeper.page);
	__ClearPageMovable(keeper.page);
	unlock_page(keeper.page);
	ps_page_owner_unregister(&keeper.owner);
	put_page(keeper.page);
}

/* Its reference stays known, so that only the books are wrong. */
static void forget_page(struct wound *w)
{
	keep_page(w);
	keeper.times = 0;
	hold(keeper.page, 1);
	w->where = "nobody's books";
}

static void remember_page(struct wound *w)
{
	unhold(keeper.page, 1);
	give_page_up(w);
}

static void book_page_twice(struct wound *w)
{
	keep_page(w);
	keeper.times = 2;
	get_page(keeper.page);
	w->where = "2 times";
}

static void book_page_once(struct wound *w)
{
	put_page(keeper.page);
	give_page_up(w);
}

static void isolate_from_owner(struct wound *w)
{
	keep_page(w);
	assert_int_equal(isolate_movable_page(keeper.page), 0);
	hold(keeper.page, 1);
	w->where = "isolated from its owner";
}

static void back_to_owner(struct wound *w)
{
	unhold(keeper.page, 1);
	putback_movable_page(keeper.page);
	give_page_up(w);
}

/* ---- I18: at rest */

static void keep_page_locked(struct wound *w)
{
	lock_page(victim(w, w->city.own));
	w->where = "locked, though nobody is at work";
}

static void let_page_go(struct wound *w)
{
	unlock_page(w->page);
}

static void keep_mmap_lock(struct wound *w)
{
	mmap_read_lock(mm_a(w));
	w->where = "holds 1 locks";
}

static void let_mmap_lock_go(struct wound *w)
{
	mmap_read_unlock(mm_a(w));
}

/* ---- the table */

static const struct plant plants[] = {
	{ "I1_an_entry_that_maps_a_free_page", 1, map_free_page, unmap_free_page, ANY_TIME },
	{ "I1_an_entry_that_maps_no_page", 1, map_no_page, unmap_no_page, ANY_TIME },
	{ "I2_a_migration_entry_for_an_unlocked_page", 2, unlock_under_migration, relock_and_restore, WHEN_BUSY },
	{ "I2_a_huge_migration_entry_for_an_unlocked_page", 2, unlock_huge_under_migration, relock_and_restore,
	  WHEN_BUSY },
	{ "I3_one_reference_too_many", 3, one_reference_too_many, take_reference_away, AT_REST },
	{ "I3_one_reference_too_few", 3, one_reference_too_few, give_reference_back, AT_REST },
	{ "I3_one_reference_too_many_of_a_huge_page", 3, one_reference_too_many_of_huge, take_reference_away, AT_REST },
	{ "I3_one_reference_too_many_of_a_cached_page", 3, one_reference_too_many_of_cached, take_reference_away,
	  AT_REST },
	{ "I4_one_mapping_too_many", 4, one_mapping_too_many, one_mapping_less, ANY_TIME },
	{ "I4_one_mapping_too_few", 4, one_mapping_too_few, one_mapping_more, ANY_TIME },
	{ "I4_one_PMD_mapping_too_many", 4, one_huge_mapping_too_many, one_huge_mapping_less, ANY_TIME },
	{ "I4_a_tail_with_a_mapping_too_many", 4, tail_mapping_too_many, one_mapping_less, ANY_TIME },
	{ "I5_a_translation_of_what_is_not_mapped", 5, translate_unmapped, forget_translation, ANY_TIME },
	{ "I5_a_translation_to_another_frame", 5, translate_to_another_frame, forget_translation, ANY_TIME },
	{ "I5_a_translation_that_may_write", 5, translate_with_write, forget_translation, ANY_TIME },
	{ "I5_a_translation_of_a_dead_address_space", 5, translate_in_dead_space, forget_translation, ANY_TIME },
	{ "I5_a_translation_of_another_size", 5, translate_small_out_of_huge, forget_translation, ANY_TIME },
	{ "I6_a_mapped_page_with_a_freed_page_s_contents", 6, poison_mapped, restore_word, ANY_TIME },
	{ "I6_a_tail_with_a_freed_page_s_contents", 6, poison_tail, restore_word, ANY_TIME },
	{ "I7_a_clean_page_with_a_writable_entry", 7, make_clean_page_writable, make_page_readonly, ANY_TIME },
	{ "I7_a_page_cleaned_without_write_protection", 7, clean_without_write_protection, write_protect, ANY_TIME },
	{ "I8_a_listed_page_without_PG_lru", 8, leave_the_list_by_flag, back_by_flag, ANY_TIME },
	{ "I8_a_page_on_another_list_than_it_says", 8, claim_another_list, claim_the_list_it_is_on, ANY_TIME },
	{ "I8_a_split_queue_of_wrong_length", 8, queue_small_page_for_splitting, unqueue_small_page, ANY_TIME },
	{ "I9_a_wrong_rss", 9, wrong_rss, right_rss, ANY_TIME },
	{ "I9_a_wrong_count_of_anonymous_pages", 9, wrong_node_counter, right_node_counter, ANY_TIME },
	{ "I9_a_wrong_count_of_mapped_file_pages", 9, wrong_mapped_counter, right_mapped_counter, ANY_TIME },
	{ "I9_a_wrong_count_of_huge_pages", 9, wrong_thp_counter, right_thp_counter, ANY_TIME },
	{ "I9_a_page_isolated_for_ever", 9, isolated_for_ever, not_isolated, AT_REST },
	{ "I10_a_leaked_page", 10, leak_page, free_leaked_page, AT_REST },
	{ "I10_a_leaked_VMA", 10, leak_vma, free_leaked_vma, ANY_TIME },
	{ "I10_a_leaked_page_table", 10, leak_table, free_leaked_table, ANY_TIME },
	{ "I10_a_leaked_chain", 10, leak_chain, free_leaked_chain, ANY_TIME },
	{ "I10_a_leaked_anon_vma", 10, leak_anon_vma, free_leaked_anon_vma, AT_REST },
	{ "I11_a_VMA_that_is_not_where_the_tree_has_it", 11, move_end_alone, move_end_back, ANY_TIME },
	{ "I11_a_wrong_map_count", 11, miscount_vmas, count_vmas_right, ANY_TIME },
	{ "I11_VMAs_out_of_order", 11, list_vma_first, list_vma_last, ANY_TIME },
	{ "I12_a_VMA_missing_in_its_anon_vma", 12, cut_from_the_tree, back_into_the_tree, ANY_TIME },
	{ "I12_an_anon_vma_with_a_reference_too_many", 12, hold_anon_vma, unhold_anon_vma, AT_REST },
	{ "I12_a_wrong_count_of_active_VMAs", 12, miscount_active_vmas, count_active_vmas_right, ANY_TIME },
	{ "I12_a_wrong_count_of_children", 12, miscount_children, count_children_right, ANY_TIME },
	{ "I12_a_VMA_with_a_stranger_s_anon_vma", 12, chain_out_of_the_family, chain_back_into_the_family, ANY_TIME },
	{ "I13_a_page_at_another_offset", 13, move_page_in_its_anon_vma, move_page_back, ANY_TIME },
	{ "I13_a_page_of_another_anon_vma", 13, give_page_to_another_anon_vma, give_page_back, ANY_TIME },
	{ "I13_a_page_under_migration_at_another_offset", 13, move_page_under_migration, move_back_and_restore,
	  WHEN_BUSY },
	{ "I14_an_exclusive_page_mapped_twice", 14, call_shared_page_exclusive, call_it_shared, ANY_TIME },
	{ "I14_an_exclusive_huge_page_mapped_twice", 14, call_shared_huge_page_exclusive, call_it_shared, ANY_TIME },
	{ "I14_a_shared_page_somebody_may_write", 14, make_shared_page_writable, make_shared_page_readonly, ANY_TIME },
	{ "I15_file_pages_in_each_other_s_place", 15, swap_file_entries, swap_file_entries, ANY_TIME },
	{ "I15_a_page_of_another_file", 15, map_page_of_another_file, map_page_of_its_file, ANY_TIME },
	{ "I15_a_VMA_missing_in_its_file", 15, cut_from_the_file_tree, back_into_the_file_tree, ANY_TIME },
	{ "I16_a_wrong_count_of_tables", 16, miscount_tables, count_tables_right, ANY_TIME },
	{ "I16_an_entry_outside_every_VMA", 16, entry_outside_every_vma, no_entry_outside, ANY_TIME },
	{ "I16_a_huge_entry_outside_every_VMA", 16, huge_entry_outside_every_vma, no_huge_entry_outside, ANY_TIME },
	{ "I16_an_entry_of_no_kind", 16, entry_of_no_kind, no_entry_of_no_kind, ANY_TIME },
	{ "I16_a_huge_entry_without_its_deposit", 16, take_deposit, give_deposit_back, ANY_TIME },
	{ "I17_a_wrong_count_of_cached_pages", 17, miscount_cached_pages, count_cached_pages_right, ANY_TIME },
	{ "I17_a_dirty_page_without_a_tag", 17, dirty_without_tag, tag_dirty, ANY_TIME },
	{ "I8_a_movable_page_in_nobodys_books", 8, forget_page, remember_page, AT_REST },
	{ "I8_a_page_in_the_books_twice", 8, book_page_twice, book_page_once, ANY_TIME },
	{ "I18_a_page_that_stays_isolated_from_its_owner", 18, isolate_from_owner, back_to_owner, AT_REST },
	{ "I18_a_page_that_stays_locked", 18, keep_page_locked, let_page_go, AT_REST },
	{ "I18_a_page_that_stays_under_migration", 18, stay_under_migration, restore_from_migration_entries, AT_REST },
	{ "I18_a_lock_that_stays_held", 18, keep_mmap_lock, let_mmap_lock_go, AT_REST },
	{ "I19_a_slot_with_a_user_too_many", 19, miscount_slot_users, count_slot_users_right, ANY_TIME },
	{ "I19_an_entry_of_a_free_slot", 19, refer_to_a_free_slot, refer_to_the_slot_again, ANY_TIME },
	{ "I19_an_entry_of_no_slot", 19, refer_to_no_slot, refer_to_the_slot_again, ANY_TIME },
	{ "I19_an_entry_of_shared_memory_s_slot", 19, refer_to_a_slot_of_shared_memory, refer_to_the_slot_again,
	  ANY_TIME },
	{ "I19_a_file_that_miscounts_what_is_in_swap", 19, forget_what_is_in_swap, remember_what_is_in_swap, ANY_TIME },
	{ "I19_a_slot_claimed_for_ever", 19, claim_slot_for_ever, give_slot_back, AT_REST },
	{ "I19_a_cached_page_of_another_slot", 19, another_slot_than_the_cache_s, the_cache_s_slot, AT_REST },
};

static void expect_reported(const struct plant *plant, const struct wound *w, bool busy)
{
	struct ps_check_report report;
	bool right = false;
	unsigned int i;

	as(scene->boot);
	if (scene_report(scene, busy, &report) <= 0)
		fail_msg("the check does not see it%s", busy ? " when busy" : "");
	as(w->city.a);
	for (i = 0; i < report.nr && i < PS_MAX_VIOLATIONS; i++) {
		const struct ps_violation *v = &report.violation[i];

		if (v->invariant != plant->invariant)
			fail_msg("reported as I%d too: %s", v->invariant, v->text);
		right |= (w->pfn == U64_MAX || v->pfn == w->pfn) && strstr(v->text, w->where);
	}
	if (!right) {
		scene_print_report(&report);
		fail_msg("not reported with pfn %lu and '%s'", (unsigned long)w->pfn, w->where);
	}
}

static void planted(void **state)
{
	const struct plant *plant = (const struct plant *)*state;
	struct wound w = { .pfn = U64_MAX, .where = "" };

	scene_fault_setup("two-node");
	city_build(&w.city);
	expect_sound();
	plant->plant(&w);
	if (plant->seen != WHEN_BUSY)
		expect_reported(plant, &w, false);
	if (plant->seen != AT_REST) {
		expect_reported(plant, &w, true);
	} else {
		as(scene->boot);
		assert_int_equal(scene_check_machine(scene, true), 0);
		as(w.city.a);
	}
	plant->heal(&w);
	expect_sound();
}

/* Every invariant has a plant. */
static void every_invariant_is_planted(void **state)
{
	unsigned int i, n;
	bool found;

	(void)state;
	for (n = 1; ps_invariant_text((int)n); n++) {
		found = false;
		for (i = 0; i < ARRAY_SIZE(plants); i++)
			found |= plants[i].invariant == (int)n;
		if (!found)
			fail_msg("I%u has no plant", n);
	}
	assert_int_equal(n - 1, 19);
}

int main(void)
{
	static struct CMUnitTest tests[ARRAY_SIZE(plants) + 1];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(plants); i++)
		tests[i] = (struct CMUnitTest){ plants[i].claim, planted, NULL, scene_teardown, (void *)&plants[i] };
	tests[i] = (struct CMUnitTest){ "every_invariant_is_planted", every_invariant_is_planted, NULL, NULL, NULL };
	return cmocka_run_group_tests_name("planted corruptions", tests, NULL, NULL);
}
