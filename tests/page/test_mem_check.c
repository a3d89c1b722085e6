/* SPDX-License-Identifier: MIT */
/*
 * ps_mem_check() can fail: one planted corruption per rule. Each is undone afterwards, so that teardown finds all well.
 */
#include "page/scene.h"
#include "page/buddy.h"
#include "page/lru_batch.h"

static int setup(void **state)
{
	return scene_setup_with(state,
				&(struct scene_spec){ .nr_nodes = 2, .pages = { 4096, 4096 }, .cpus = { 1, 1 } });
}

/** Expect the check to find something, and the first finding of rule `rule`. */
static void expect_fault(struct scene *s, const char *rule)
{
	struct ps_mem_fault faults[16];
	int i, nr = ps_mem_check(s->machine, faults, 16);

	assert_true(nr > 0);
	for (i = 0; i < nr && i < 16; i++)
		if (!strncmp(faults[i].text, rule, strlen(rule)))
			return;
	fail_msg("%s not found, but: %s", rule, faults[0].text);
}

static struct page *free_block(struct zone *zone, unsigned int order, int mt)
{
	return list_first_entry(&zone->free_area[order].free_list[mt], struct page, buddy_list);
}

static void m1_a_page_is_free_twice(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);
	struct zone *zone = page_zone(page);
	struct per_cpu_pages *pcp = &zone->per_cpu_pageset[0];
	struct page *block = free_block(zone, 9, MIGRATE_MOVABLE) + 3;

	/* A page inside a free block gets onto a per-CPU list. */
	list_add(&block->pcp_list, &pcp->lists[0]);
	pcp->count++;
	expect_fault(*state, "M1");
	list_del(&block->pcp_list);
	pcp->count--;
	/* A page in use says it is free. */
	__SetPageBuddy(page);
	expect_fault(*state, "M1");
	__ClearPageBuddy(page);
	put_page(page);
}

static void m1_a_page_of_another_node(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);
	unsigned long flags = page->flags;

	page->flags ^= 1UL << NODES_PGSHIFT;
	expect_fault(*state, "M1");
	page->flags = flags;
	put_page(page);
}

static void m2_a_free_block_is_not_what_its_list_says(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);
	struct zone *zone = page_zone(page);
	struct page *block = free_block(zone, 9, MIGRATE_MOVABLE);
	u8 type = *pageblock_type_ptr(zone, page_to_pfn(block));

	block->private_data = 8;
	expect_fault(*state, "M2");
	block->private_data = 9;
	/* Its pageblock is isolated, the block is not. */
	set_pageblock_migratetype(block, MIGRATE_ISOLATE);
	expect_fault(*state, "M2");
	*pageblock_type_ptr(zone, page_to_pfn(block)) = type;
	put_page(page);
}

static void m2_two_buddies_are_free(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);
	struct zone *zone = page_zone(page);
	struct page *block = free_block(zone, 9, MIGRATE_MOVABLE);

	del_page_from_free_list(block, zone, 9);
	block->private_data = 8;
	__SetPageBuddy(block);
	list_add(&block->buddy_list, &zone->free_area[8].free_list[MIGRATE_MOVABLE]);
	block[256].private_data = 8;
	__SetPageBuddy(block + 256);
	list_add(&block[256].buddy_list, &zone->free_area[8].free_list[MIGRATE_MOVABLE]);
	zone->free_area[8].nr_free += 2;
	expect_fault(*state, "M2 buddies");
	del_page_from_free_list(block, zone, 8);
	__mod_zone_page_state(zone, NR_FREE_PAGES, -256);
	__free_one_page(block, page_to_pfn(block), zone, 8, MIGRATE_MOVABLE, false);
	put_page(page);
}

static void m3_a_free_page_is_in_use(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);

	put_page(page);
	set_page_count(page, 1);
	expect_fault(*state, "M3");
	set_page_count(page, 0);
	SetPageDirty(page);
	expect_fault(*state, "M3");
	ClearPageDirty(page);
	atomic_inc(&page->_mapcount);
	expect_fault(*state, "M3");
	page_mapcount_reset(page);
	page->mapping = (struct address_space *)page;
	expect_fault(*state, "M3");
	page->mapping = NULL;
}

static void m4_a_counter_is_off_by_one(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);
	struct zone *zone = page_zone(page);

	__mod_zone_page_state(zone, NR_FREE_PAGES, 1);
	expect_fault(*state, "M4");
	__mod_zone_page_state(zone, NR_FREE_PAGES, -1);
	zone->free_area[9].nr_free++;
	expect_fault(*state, "M4");
	zone->free_area[9].nr_free--;
	zone->per_cpu_pageset[0].count--;
	expect_fault(*state, "M4");
	zone->per_cpu_pageset[0].count++;
	zone->nr_isolate_pageblock++;
	expect_fault(*state, "M4");
	zone->nr_isolate_pageblock--;
	put_page(page);
}

static void m5_an_lru_page_is_on_the_wrong_list(void **state)
{
	struct page *page = new_anon_page(0), *other = new_anon_page(0);

	lru_cache_add(page);
	lru_add_drain();
	SetPageActive(page);
	expect_fault(*state, "M5");
	ClearPageActive(page);
	ClearPageLRU(page);
	expect_fault(*state, "M5");
	SetPageLRU(page);
	SetPageLRU(other);
	expect_fault(*state, "M5");
	ClearPageLRU(other);
	__mod_node_page_state(0, NR_INACTIVE_ANON, 1);
	expect_fault(*state, "M5");
	__mod_node_page_state(0, NR_INACTIVE_ANON, -1);
	put_page(page);
	put_page(other);
}

static void m6_a_batched_page_is_not_referenced(void **state)
{
	struct page *page = new_anon_page(0);

	lru_cache_add(page);
	page_ref_sub(page, 2);
	expect_fault(*state, "M6");
	page_ref_add(page, 2);
	put_page(page);
}

static void m7_a_tail_has_lost_its_head(void **state)
{
	struct page *thp = new_thp(0);

	set_compound_head(thp + 9, thp + 8);
	expect_fault(*state, "M7");
	set_compound_head(thp + 9, thp);
	page_ref_inc(thp + 9);
	expect_fault(*state, "M7");
	page_ref_dec(thp + 9);
	thp[1].compound_order = 8;
	expect_fault(*state, "M7");
	thp[1].compound_order = 9;
	put_page(thp);
}

static void m8_the_split_queue_is_wrong(void **state)
{
	struct page *thp = new_thp(0);

	deferred_split_huge_page(thp);
	NODE_DATA(0)->deferred_split_queue.split_queue_len++;
	expect_fault(*state, "M8");
	NODE_DATA(0)->deferred_split_queue.split_queue_len--;
	thp[1].compound_dtor = COMPOUND_PAGE_DTOR;
	expect_fault(*state, "M8");
	thp[1].compound_dtor = TRANSHUGE_PAGE_DTOR;
	put_page(thp);
}

static void m9_mlocked_pages_are_miscounted(void **state)
{
	struct page *page = new_anon_page(0);

	SetPageMlocked(page);
	expect_fault(*state, "M9");
	ClearPageMlocked(page);
	put_page(page);
}

/* Expect: a torn list ends the walk with a finding, not the program. */
static void a_torn_list_is_a_finding(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);
	struct zone *zone = page_zone(page);
	struct list_head *head = &zone->free_area[9].free_list[MIGRATE_MOVABLE], *first = head->next,
			 *next = first->next;
	struct list_head *lru, *lru_next;
	struct page *a = new_anon_page(0);

	first->next = (struct list_head *)&zone->free_area[0];
	expect_fault(*state, "M2");
	first->next = first;
	expect_fault(*state, "M2");
	first->next = next;

	lru_cache_add(a);
	lru_add_drain();
	lru = &node_lruvec(NODE_DATA(0))->lists[LRU_INACTIVE_ANON];
	lru_next = lru->next->next;
	a->lru.next = &a->lru;
	expect_fault(*state, "M5");
	a->lru.next = lru_next;
	put_page(a);
	put_page(page);
}

/* Expect: no memory for the check is said, not crashed on. */
static void the_check_can_be_out_of_memory(void **state)
{
	struct scene *s = *state;
	u64 n;

	for (n = 1;; n++) {
		int ret;

		ps_alloc_fail_nth(n);
		ret = ps_mem_check(s->machine, NULL, 0);
		if (ps_alloc_fail_nth(0)) {
			assert_int_equal(ret, 0);
			break;
		}
		assert_int_equal(ret, -ENOMEM);
	}
	assert_true(n > 4);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)
	const struct CMUnitTest tests[] = {
		T(m1_a_page_is_free_twice),
		T(m1_a_page_of_another_node),
		T(m2_a_free_block_is_not_what_its_list_says),
		T(m2_two_buddies_are_free),
		T(m3_a_free_page_is_in_use),
		T(m4_a_counter_is_off_by_one),
		T(m5_an_lru_page_is_on_the_wrong_list),
		T(m6_a_batched_page_is_not_referenced),
		T(m7_a_tail_has_lost_its_head),
		T(m8_the_split_queue_is_wrong),
		T(m9_mlocked_pages_are_miscounted),
		T(a_torn_list_is_a_finding),
		T(the_check_can_be_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
