/* SPDX-License-Identifier: MIT */
/*
 * The TLB against a model of itself that is as plain as possible: sets of ways searched one by one, first-level ways
 * that hold the page itself. Random operations on both must answer alike, whatever the geometry.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <pagesim/alloc.h>
#include <pagesim/rng.h>
#include <pagesim/tlb.h>

/* ---- the plain model ---- */

struct plain_way {
	bool valid, recent;
	u32 asid;
	u64 page;
	bool huge;
	u64 word;
};

struct plain_level {
	unsigned sets, ways;
	struct plain_way way[64][16];
	/* First level: the way whose turn it is, per set. */
	unsigned next[64];
};

struct plain {
	unsigned huge_shift;
	struct plain_level l1[2], l2;
	u64 l1_hits, l2_hits, misses;
};

static void plain_init(struct plain *p, const struct ps_tlb_geometry *g, unsigned huge_shift)
{
	memset(p, 0, sizeof(*p));
	p->huge_shift = huge_shift;
	p->l1[0].ways = g->l1_small_ways;
	p->l1[0].sets = g->l1_small_entries / g->l1_small_ways;
	p->l1[1].ways = g->l1_huge_ways;
	p->l1[1].sets = g->l1_huge_entries / g->l1_huge_ways;
	p->l2.ways = g->l2_ways;
	p->l2.sets = g->l2_entries / g->l2_ways;
}

static struct plain_way *plain_set(struct plain_level *l, u64 page)
{
	return l->way[page % l->sets];
}

static struct plain_way *plain_find(struct plain_level *l, u32 asid, u64 page, bool huge)
{
	struct plain_way *set = plain_set(l, page);

	for (unsigned w = 0; w < l->ways; w++)
		if (set[w].valid && set[w].asid == asid && set[w].page == page && set[w].huge == huge)
			return &set[w];
	return NULL;
}

static struct plain_way *plain_victim(struct plain_level *l, u64 page)
{
	struct plain_way *set = plain_set(l, page);

	for (unsigned w = 0; w < l->ways; w++)
		if (!set[w].recent)
			return &set[w];
	fail_msg("a set without a victim");
	return NULL;
}

static void plain_use(struct plain_level *l, struct plain_way *way)
{
	struct plain_way *set = plain_set(l, way->page);
	unsigned recent = 0;

	way->recent = true;
	for (unsigned w = 0; w < l->ways; w++)
		recent += set[w].recent;
	if (recent == l->ways)
		for (unsigned w = 0; w < l->ways; w++)
			set[w].recent = &set[w] == way;
}

/* Fill a page into the first level, whoever is there. */
static void plain_fill_l1(struct plain *p, u32 asid, u64 page, bool huge)
{
	struct plain_level *l = &p->l1[huge];
	unsigned *next = &l->next[page % l->sets];
	struct plain_way *way = &plain_set(l, page)[*next];

	*next = (*next + 1) % l->ways;
	way->valid = true;
	way->asid = asid;
	way->page = page;
	way->huge = huge;
}

static void plain_lose_l1(struct plain *p, const struct plain_way *entry)
{
	struct plain_way *way = plain_find(&p->l1[entry->huge], entry->asid, entry->page, entry->huge);

	if (way)
		way->valid = false;
}

static void plain_lose(struct plain *p, struct plain_way *way)
{
	plain_lose_l1(p, way);
	way->valid = way->recent = false;
}

static struct plain_way *plain_translate(struct plain *p, u32 asid, u64 vpn)
{
	struct plain_way *way = plain_find(&p->l2, asid, vpn, false);

	return way ? way : plain_find(&p->l2, asid, vpn >> p->huge_shift, true);
}

static u64 plain_lookup(struct plain *p, u32 asid, u64 vpn)
{
	struct plain_way *way = plain_translate(p, asid, vpn);

	if (!way) {
		p->misses++;
		return 0;
	}
	plain_use(&p->l2, way);
	if (plain_find(&p->l1[way->huge], asid, way->page, way->huge)) {
		p->l1_hits++;
		return way->word | PS_TLB_L1;
	}
	plain_fill_l1(p, asid, way->page, way->huge);
	p->l2_hits++;
	return way->word;
}

static void plain_insert(struct plain *p, u32 asid, u64 vpn, pfn_t pfn, nid_t nid, u64 flags)
{
	bool huge = flags & PS_TLB_HUGE;
	u64 page = huge ? vpn >> p->huge_shift : vpn;
	struct plain_way *way = plain_find(&p->l2, asid, page, huge);

	if (!way)
		way = plain_victim(&p->l2, page);
	if (way->valid)
		plain_lose_l1(p, way);
	way->valid = true;
	way->asid = asid;
	way->page = page;
	way->huge = huge;
	way->word = pfn | (u64)nid << PS_TLB_NID_SHIFT | PS_TLB_VALID | flags;
	plain_use(&p->l2, way);
	plain_fill_l1(p, asid, page, huge);
}

/* Drops entries of @asid that cover a page of [first, last]. */
static unsigned plain_flush(struct plain *p, u32 asid, u64 first, u64 last)
{
	unsigned n = 0;

	for (unsigned s = 0; s < p->l2.sets; s++)
		for (unsigned w = 0; w < p->l2.ways; w++) {
			struct plain_way *way = &p->l2.way[s][w];
			unsigned shift = way->huge ? p->huge_shift : 0;

			if (!way->valid || way->asid != asid || way->page < first >> shift || way->page > last >> shift)
				continue;
			plain_lose(p, way);
			n++;
		}
	return n;
}

/* Everything the TLB shows must be in the model, and as many. */
static void assert_same_entries(const struct ps_tlb *tlb, struct plain *p)
{
	struct ps_tlb_item item;
	unsigned shown = 0, there = 0;
	u32 cursor = 0;

	while (ps_tlb_next(tlb, &cursor, &item)) {
		bool huge = item.flags & PS_TLB_HUGE;
		struct plain_way *way =
			plain_find(&p->l2, item.asid, huge ? item.vpn >> p->huge_shift : item.vpn, huge);

		assert_non_null(way);
		assert_int_equal(way->word, item.pfn | (u64)item.nid << PS_TLB_NID_SHIFT | item.flags);
		assert_int_equal(item.npages, huge ? 1u << p->huge_shift : 1);
		shown++;
	}
	for (unsigned s = 0; s < p->l2.sets; s++)
		for (unsigned w = 0; w < p->l2.ways; w++)
			there += p->l2.way[s][w].valid;
	assert_int_equal(shown, there);
}

/* ---- random operations ---- */

struct geometry_case {
	const char *name;
	struct ps_tlb_geometry g;
	unsigned huge_shift;
	u64 pages; /* how many pages of each of 3 address spaces are used */
};

static const struct geometry_case geometry_cases[] = {
	{ "tiny", { 4, 2, 2, 2, 8, 2 }, 2, 24 },
	{ "one set each", { 3, 3, 2, 2, 5, 5 }, 2, 16 },
	{ "skylake, small sets", { 64, 4, 32, 4, 384, 12 }, 9, 2000 },
	{ "golden cove", { 96, 6, 32, 4, 1024, 16 }, 9, 3000 },
	{ "first level direct mapped", { 32, 1, 64, 1, 512, 16 }, 5, 2500 },
	{ "first level fully associative", { 16, 16, 8, 8, 64, 4 }, 3, 200 },
	{ "more sets at the first level", { 32, 2, 16, 1, 32, 4 }, 3, 60 },
};

static void run_random(const struct geometry_case *c, u64 seed, unsigned steps)
{
	static struct plain plain;
	struct ps_tlb_counts counts;
	struct ps_tlb tlb;
	struct ps_rng rng;

	assert_int_equal(ps_tlb_init(&tlb, &c->g, c->huge_shift), 0);
	plain_init(&plain, &c->g, c->huge_shift);
	ps_rng_init(&rng, seed);
	for (unsigned i = 0; i < steps; i++) {
		u32 asid = 1 + (u32)ps_rng_below(&rng, 3);
		/* Pages far up in the address space as well, so that tags use all their bits. */
		u64 vpn = ps_rng_below(&rng, c->pages) + (asid == 3 ? (1ull << 36) - c->pages : 0);
		u64 flags = (ps_rng_next(&rng) & (PS_TLB_WRITE | PS_TLB_DIRTY | PS_TLB_USER)) |
			    (ps_rng_below(&rng, 8) ? 0 : PS_TLB_HUGE);
		pfn_t pfn = ps_rng_next(&rng) & PS_TLB_PFN_MASK;
		nid_t nid = (nid_t)ps_rng_below(&rng, 64);
		u64 n, word, op = ps_rng_below(&rng, 1000);

		if (op < 900) {
			word = ps_tlb_lookup(&tlb, asid, vpn);
			assert_int_equal(word, plain_lookup(&plain, asid, vpn));
			if (!word) {
				ps_tlb_fill(&tlb, asid, vpn, pfn, nid, flags);
				plain_insert(&plain, asid, vpn, pfn, nid, flags);
			} else {
				assert_int_equal(ps_tlb_pfn(&tlb, word, vpn),
						 (word & PS_TLB_PFN_MASK) +
							 (word & PS_TLB_HUGE ? vpn & ((1u << c->huge_shift) - 1) : 0));
			}
		} else if (op < 960) {
			ps_tlb_insert(&tlb, asid, vpn, pfn, nid, flags);
			plain_insert(&plain, asid, vpn, pfn, nid, flags);
			assert_true(ps_tlb_probe(&tlb, asid, vpn) & PS_TLB_VALID);
		} else if (op < 985) {
			assert_int_equal(ps_tlb_flush_page(&tlb, asid, vpn), plain_flush(&plain, asid, vpn, vpn));
			assert_int_equal(ps_tlb_probe(&tlb, asid, vpn), 0);
		} else if (op < 996) {
			n = 1 + ps_rng_below(&rng, c->pages * 2);
			assert_int_equal(ps_tlb_flush_range(&tlb, asid, vpn, n),
					 plain_flush(&plain, asid, vpn, vpn + n - 1));
		} else if (op < 999) {
			assert_int_equal(ps_tlb_flush_asid(&tlb, asid), plain_flush(&plain, asid, 0, UINT64_MAX));
		} else if (!ps_rng_below(&rng, 4)) {
			struct plain fresh;

			ps_tlb_flush_all(&tlb);
			plain_init(&fresh, &c->g, c->huge_shift);
			memcpy(plain.l1, fresh.l1, sizeof(plain.l1));
			memcpy(&plain.l2, &fresh.l2, sizeof(plain.l2));
		}
		if (!(i % 997))
			assert_same_entries(&tlb, &plain);
	}
	assert_same_entries(&tlb, &plain);
	ps_tlb_counts(&tlb, &counts);
	assert_int_equal(counts.l1_hits, plain.l1_hits);
	assert_int_equal(counts.l2_hits, plain.l2_hits);
	assert_int_equal(counts.misses, plain.misses);
	/* The run is worth something: every outcome occurred. */
	assert_true(counts.l1_hits && counts.l2_hits && counts.misses);
	ps_tlb_destroy(&tlb);
}

/* Expect every answer, count and entry to agree after each of some 600,000 random operations. Seeds are fixed. */
static void the_tlb_answers_as_a_plain_model_of_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(geometry_cases); i++)
		for (u64 seed = 1; seed <= 4; seed++) {
			print_message("  geometry \"%s\", seed %llu\n", geometry_cases[i].name,
				      (unsigned long long)seed);
			run_random(&geometry_cases[i], seed, 25000);
		}
}

/* ---- what a reader would ask ---- */

static void translations_of_one_address_space_do_not_serve_another(void **state)
{
	struct ps_tlb tlb;

	(void)state;
	assert_int_equal(ps_tlb_init(&tlb, NULL, 9), 0);
	ps_tlb_insert(&tlb, 1, 5, 100, 0, PS_TLB_WRITE);
	ps_tlb_insert(&tlb, PS_TLB_MAX_ASID, 5, 200, 1, 0);
	assert_int_equal(ps_tlb_lookup(&tlb, 2, 5), 0);
	assert_int_equal(ps_tlb_pfn(&tlb, ps_tlb_lookup(&tlb, 1, 5), 5), 100);
	assert_int_equal(ps_tlb_pfn(&tlb, ps_tlb_lookup(&tlb, PS_TLB_MAX_ASID, 5), 5), 200);
	assert_int_equal(ps_tlb_nid(ps_tlb_lookup(&tlb, PS_TLB_MAX_ASID, 5)), 1);
	assert_int_equal(ps_tlb_flush_asid(&tlb, 1), 1);
	assert_int_equal(ps_tlb_lookup(&tlb, 1, 5), 0);
	assert_int_not_equal(ps_tlb_lookup(&tlb, PS_TLB_MAX_ASID, 5), 0);
	ps_tlb_destroy(&tlb);
}

/*
 *      vpn 0 ........ 511 | 512 ........ 1023
 *      one huge entry     | nothing
 */
static void a_huge_entry_serves_all_its_pages_and_no_other(void **state)
{
	struct ps_tlb tlb;

	(void)state;
	assert_int_equal(ps_tlb_init(&tlb, NULL, 9), 0);
	ps_tlb_insert(&tlb, 1, 300, 1024, 3, PS_TLB_HUGE | PS_TLB_WRITE | PS_TLB_DIRTY);
	for (u64 vpn = 0; vpn < 512; vpn++) {
		u64 word = ps_tlb_lookup(&tlb, 1, vpn);

		assert_int_equal(ps_tlb_pfn(&tlb, word, vpn), 1024 + vpn);
		assert_int_equal(ps_tlb_nid(word), 3);
		assert_int_equal(word & (PS_TLB_HUGE | PS_TLB_WRITE | PS_TLB_DIRTY),
				 PS_TLB_HUGE | PS_TLB_WRITE | PS_TLB_DIRTY);
	}
	assert_int_equal(ps_tlb_lookup(&tlb, 1, 512), 0);
	/* A flush of any page of it is a flush of all of it. */
	assert_int_equal(ps_tlb_flush_page(&tlb, 1, 511), 1);
	assert_int_equal(ps_tlb_lookup(&tlb, 1, 0), 0);
	ps_tlb_destroy(&tlb);
}

static void inserting_again_replaces_permissions_and_frame(void **state)
{
	struct ps_tlb_item item;
	struct ps_tlb tlb;
	u32 cursor = 0;

	(void)state;
	assert_int_equal(ps_tlb_init(&tlb, NULL, 9), 0);
	ps_tlb_insert(&tlb, 1, 5, 100, 0, PS_TLB_WRITE);
	ps_tlb_insert(&tlb, 1, 5, 101, 1, PS_TLB_WRITE | PS_TLB_DIRTY);
	assert_true(ps_tlb_next(&tlb, &cursor, &item));
	assert_int_equal(item.vpn, 5);
	assert_int_equal(item.pfn, 101);
	assert_int_equal(item.nid, 1);
	assert_int_equal(item.flags, PS_TLB_VALID | PS_TLB_WRITE | PS_TLB_DIRTY);
	assert_false(ps_tlb_next(&tlb, &cursor, &item));
	ps_tlb_destroy(&tlb);
}

static void a_range_that_runs_over_the_end_flushes_up_to_the_end(void **state)
{
	struct ps_tlb tlb;

	(void)state;
	assert_int_equal(ps_tlb_init(&tlb, NULL, 9), 0);
	ps_tlb_insert(&tlb, 1, 1ull << 30, 7, 0, 0);
	assert_int_equal(ps_tlb_flush_range(&tlb, 1, 1ull << 30, 0), 0);
	assert_int_equal(ps_tlb_flush_range(&tlb, 1, (1ull << 30) + 1, UINT64_MAX), 0);
	assert_int_equal(ps_tlb_flush_range(&tlb, 1, 1, UINT64_MAX), 1);
	ps_tlb_destroy(&tlb);
}

/* Four pages that share a set of four ways stay in the first level; of five in turn, none is ever there. */
static void the_first_level_holds_as_many_as_it_has_ways(void **state)
{
	struct ps_tlb_counts counts;
	struct ps_tlb tlb;

	(void)state;
	assert_int_equal(ps_tlb_init(&tlb, NULL, 9), 0);
	for (u64 i = 0; i < 4; i++)
		ps_tlb_insert(&tlb, 1, i * 16, i, 0, 0);
	for (int round = 0; round < 10; round++)
		for (u64 i = 0; i < 4; i++)
			assert_true(ps_tlb_lookup(&tlb, 1, i * 16) & PS_TLB_L1);
	ps_tlb_insert(&tlb, 1, 4 * 16, 4, 0, 0);
	for (int round = 0; round < 10; round++)
		for (u64 i = 0; i < 5; i++)
			assert_int_not_equal(ps_tlb_lookup(&tlb, 1, i * 16), 0);
	ps_tlb_counts(&tlb, &counts);
	assert_int_equal(counts.misses, 0);
	assert_int_equal(counts.l1_hits, 40);
	assert_int_equal(counts.l2_hits, 50);
	ps_tlb_destroy(&tlb);
}

static void an_impossible_geometry_is_named(void **state)
{
	static const struct {
		struct ps_tlb_geometry g;
		const char *why;
	} bad[] = {
		{ { 64, 0, 32, 4, 1536, 12 }, "first-level TLB for base pages: ways are not 1 .. 1024" },
		{ { 4096, 2048, 32, 4, 1536, 12 }, "first-level TLB for base pages: ways are not 1 .. 1024" },
		{ { 60, 4, 32, 4, 1536, 12 }, "first-level TLB for base pages: entries / ways is not a power of two" },
		{ { 66, 4, 32, 4, 1536, 12 }, "first-level TLB for base pages: entries / ways is not a power of two" },
		{ { 64, 4, 0, 4, 1536, 12 }, "first-level TLB for huge pages: entries / ways is not a power of two" },
		{ { 64, 4, 32, 0, 1536, 12 }, "first-level TLB for huge pages: ways are not 1 .. 1024" },
		{ { 64, 4, 32, 4, 1536, 17 }, "second-level TLB: ways are not 2 .. 16" },
		{ { 64, 4, 32, 4, 1500, 12 }, "second-level TLB: entries / ways is not a power of two" },
		{ { 64, 4, 32, 4, 131072, 16 }, "second-level TLB: more than 4096 sets" },
		{ { 64, 4, 32, 4, 48, 12 }, "second-level TLB: smaller than a first level, which it must include" },
	};
	static const struct ps_tlb_geometry unset;
	struct ps_tlb tlb;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_non_null(ps_tlb_geometry_check(&bad[i].g));
		assert_string_equal(ps_tlb_geometry_check(&bad[i].g), bad[i].why);
		assert_int_equal(ps_tlb_init(&tlb, &bad[i].g, 9), -EINVAL);
	}
	assert_null(ps_tlb_geometry_check(&unset));
	assert_int_equal(ps_tlb_init(&tlb, NULL, 0), -EINVAL);
	assert_int_equal(ps_tlb_init(&tlb, NULL, 10), -EINVAL);
}

static void without_memory_there_is_no_tlb(void **state)
{
	struct ps_alloc_counts before, after;
	struct ps_tlb tlb = { 0 };

	(void)state;
	ps_alloc_counts(&before);
	ps_alloc_fail_nth(1);
	assert_int_equal(ps_tlb_init(&tlb, NULL, 9), -ENOMEM);
	assert_false(ps_alloc_fail_nth(0));
	ps_tlb_destroy(&tlb);
	ps_alloc_counts(&after);
	assert_int_equal(after.live, before.live);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tlb_answers_as_a_plain_model_of_it),
		cmocka_unit_test(translations_of_one_address_space_do_not_serve_another),
		cmocka_unit_test(a_huge_entry_serves_all_its_pages_and_no_other),
		cmocka_unit_test(inserting_again_replaces_permissions_and_frame),
		cmocka_unit_test(a_range_that_runs_over_the_end_flushes_up_to_the_end),
		cmocka_unit_test(the_first_level_holds_as_many_as_it_has_ways),
		cmocka_unit_test(an_impossible_geometry_is_named),
		cmocka_unit_test(without_memory_there_is_no_tlb),
	};

	return cmocka_run_group_tests_name("tlb", tests, NULL, NULL);
}
