/* SPDX-License-Identifier: MIT */
/*
 * The split engine: a huge page becomes pieces of any smaller order that its kind allows, all that was known of the whole is
 * known of each piece, and a page that does not come apart is as it was. To order 0 the golden transcripts say the same and more.
 *
 * The machine has huge pages of order 5 (32 small pages), so that four orders lie in between.
 */
#include "engines/subjects.h"
#include "fixtures/swap_verbs.h"

#include <pagesim/shrinker.h>
#include <pagesim/pagemap.h>
#include <pagesim/shmem.h>
#include <pagesim/tracepoint.h>
#include <pagesim/xarray.h>

#define ORDER 5
#define NR    (1u << ORDER)

static void open_world(void)
{
	const struct scene_settings settings = { .machine = "two-node", .pt_bits = ORDER };

	assert_int_equal(scene_world_open(&settings), 0);
	start("A", 0);
}

static int setup(void **state)
{
	(void)state;
	open_world();
	return 0;
}

/* Splits as a caller does that has found small page @i of it. Return: what the engine returns. */
static int split_at(struct page *head, unsigned int i, unsigned int order)
{
	struct page *page = head + i;
	int error;

	get_page(head);
	lock_page(head);
	error = split_huge_page_to_list_to_order(page, NULL, order);
	/* Lock and reference are those of the piece that was named. */
	assert_true(PageLocked(compound_head(page)));
	unlock_page(compound_head(page));
	put_page(page);
	return error;
}

/* Are frames head .. head + nr - 1 pieces of that order? */
static void expect_pieces(const char *name, struct page *head, unsigned int nr, unsigned int order)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct page *page = head + i, *piece = head + (i >> order << order);

		if (compound_head(page) != piece || compound_order(piece) != order || compound_nr(piece) != 1u << order)
			fail_msg("%s: frame %u is of order %u", name, i, compound_order(compound_head(page)));
		if (page_to_pgoff(piece) != page_to_pgoff(head) + (i >> order << order))
			fail_msg("%s: piece %u has index %lu", name, i >> order, (unsigned long)piece->index);
		if (!PageLRU(piece) || PageLocked(piece) || !PageUptodate(piece))
			fail_msg("%s: piece %u has flags %#lx", name, i >> order, piece->flags);
	}
}

/* ---- to every order */

static void build_huge_anon(struct subject *s)
{
	build_huge(s);
}

static void build_huge_mlocked(struct subject *s)
{
	build_huge(s);
	assert_int_equal(do_mlock(current->mm, s->addr, pages(huge_pages())), 0);
}

static void build_tmpfs_in_pieces(struct subject *s)
{
	build_huge_tmpfs(s);
	assert_int_equal(do_mprotect(current->mm, s->addr, pages(3), RO), 0);
}

static void build_tmpfs_unmapped(struct subject *s)
{
	build_huge_tmpfs(s);
	assert_int_equal(do_munmap(current->mm, s->addr, pages(huge_pages())), 0);
	s->addr = 0;
}

static const struct kind {
	const char *name;
	void (*build)(struct subject *s);
	bool anon;
} kinds[] = {
	{ "anonymous", build_huge_anon, true },
	{ "shared by fork", build_huge_shared, true },
	{ "mapped in pieces", build_huge_in_pieces, true },
	{ "mlocked", build_huge_mlocked, true },
	{ "tmpfs", build_huge_tmpfs, false },
	{ "tmpfs, mapped in pieces", build_tmpfs_in_pieces, false },
	{ "tmpfs, not mapped", build_tmpfs_unmapped, false },
};

/* Each piece of a file is found by each of its indices, and the index holds entries of its order. */
static void expect_found(struct page *head, unsigned int order)
{
	struct address_space *mapping = head->mapping;
	pgoff_t first = head->index, i;

	for (i = 0; i < NR; i++) {
		struct page *page = find_get_page(mapping, first + i);

		assert_ptr_equal(page, head + i);
		assert_int_equal(xa_get_order(&mapping->i_pages, first + i), order);
		put_page(page);
	}
	assert_int_equal(mapping->nrpages, NR);
}

/*
 * For each kind and order:
 *   1. split, naming small page 13        expect pieces, words, references, counters
 *   2. move all to node 1                 expect pieces of the same order there, and the words
 *   3. split what is left to order 0      expect small pages and the words
 */
static void every_kind_comes_apart_to_every_order(void **state)
{
	unsigned int k, order, i;

	(void)state;
	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (order = 0; order < ORDER; order++) {
			struct subject s = { 0 };
			struct page *head;
			s64 events;
			bool refused = kinds[k].anon && order == 1;

			open_world();
			kinds[k].build(&s);
			lru_add_drain_all();
			head = s.page;
			events = vmstat("thp_split_page");
			if (split_at(head, 13, order) != (refused ? -EINVAL : 0))
				fail_msg("%s to order %u", kinds[k].name, order);
			expect_pieces(kinds[k].name, head, NR, refused ? ORDER : order);
			assert_int_equal(vmstat("thp_split_page") - events, !refused);
			assert_int_equal(vmstat("thp_split_page_failed"), 0);
			expect_sound();
			if (!kinds[k].anon) {
				assert_int_equal(node_page_state(0, NR_SHMEM_THPS), 0);
				assert_int_equal(node_page_state(0, NR_SHMEM), NR);
				expect_found(head, order);
			}
			if (!s.addr || refused) {
				scene_close();
				continue;
			}
			expect_filled(s.addr, NR, subject_seed(&s));
			for (i = 0; i < NR; i++)
				assert_ptr_equal(page_at(s.addr + pages(i)), head + i);
			expect_sound();
			/* Every piece is named once, by its first page. */
			for (i = 0; i < NR; i += 1u << order) {
				struct ps_move one = { .addr = s.addr + pages(i), .node = 1 };

				assert_int_equal(ps_move_pages(current->mm, &one, 1, false, true), 0);
				if (one.status != 1)
					fail_msg("%s of order %u: piece %u: %d", kinds[k].name, order, i >> order,
						 one.status);
			}
			assert_int_equal(vmstat("pgmigrate_success"), NR);
			assert_int_equal(vmstat("thp_migration_success"), 0);
			expect_filled(s.addr, NR, subject_seed(&s));
			for (i = 0; i < NR; i += 1u << order)
				expect_pieces("moved", page_at(s.addr + pages(i)), 1u << order, order);
			expect_sound();
			split_huge_pages_range(current->mm, s.addr, s.addr + pages(NR), 0);
			expect_filled(s.addr, NR, subject_seed(&s));
			for (i = 0; i < NR; i++)
				assert_false(PageCompound(page_at(s.addr + pages(i))));
			/* Only what a PMD could map counts as a huge page that was split. */
			assert_int_equal(vmstat("thp_split_page") - events, 1);
			expect_sound();
			scene_close();
		}
	}
}

/* 5 -> 3 -> 2, and one piece of the first kind stays: pieces come apart like a whole, and their neighbours do not notice. */
static void a_piece_can_be_split_again(void **state)
{
	u64 r = map_huge_filled(1, 1);
	struct page *head = page_at(r);

	(void)state;
	lru_add_drain_all();
	assert_int_equal(split_at(head, 0, 3), 0);
	assert_int_equal(split_at(head + 8, 5, 2), 0);
	assert_int_equal(split_at(head + 8, 0, 0), 0);
	expect_pieces("first", head, 8, 3);
	expect_pieces("second, first half", head + 8, 4, 0);
	expect_pieces("second, other half", head + 12, 4, 2);
	expect_pieces("third", head + 16, 8, 3);
	expect_filled(r, NR, 1);
	expect_sound();
}

/* ---- refusals */

static void build_tmpfs_huge_held(struct subject *s)
{
	build_huge_tmpfs(s);
	s->flags = FOLL_GET;
	s->held = grab(s->addr + pages(9), s->flags);
}

static void build_in_swap_cache(struct subject *s)
{
	swap_on(2 * NR);
	build_huge(s);
	lru_add_drain_all();
	lock_page(s->page);
	assert_true(add_to_swap(s->page));
	unlock_page(s->page);
}

static void undo_in_swap_cache(struct subject *s)
{
	lock_page(s->page);
	assert_true(try_to_free_swap(s->page));
	unlock_page(s->page);
}

static const struct refusal {
	const char *name;
	void (*build)(struct subject *s);
	void (*undo)(struct subject *s);
	unsigned int order;
	int error;
	s64 failed; /* counted */
} refusals[] = {
	{ "held", build_huge_held, undo_held, 0, -EBUSY, 1 },
	{ "held, to an order", build_huge_held, undo_held, 2, -EAGAIN, 1 },
	{ "pinned", build_huge_pinned, undo_held, 0, -EBUSY, 1 },
	{ "pinned, to an order", build_huge_pinned, undo_held, 4, -EAGAIN, 1 },
	{ "tmpfs, held", build_tmpfs_huge_held, undo_held, 0, -EBUSY, 1 },
	{ "tmpfs, held, to an order", build_tmpfs_huge_held, undo_held, 1, -EAGAIN, 1 },
	{ "anonymous, to order 1", build_huge, undo_nothing, 1, -EINVAL, 0 },
	{ "to its own order", build_huge, undo_nothing, ORDER, -EINVAL, 0 },
	{ "tmpfs, to its own order", build_huge_tmpfs, undo_nothing, ORDER, -EINVAL, 0 },
	{ "to a larger order", build_huge, undo_nothing, 63, -EINVAL, 0 },
	{ "in the swap cache, to an order", build_in_swap_cache, undo_in_swap_cache, 2, -EINVAL, 0 },
};

static void a_refused_page_is_as_it_was(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(refusals); i++) {
		const struct refusal *r = &refusals[i];
		struct subject s = { 0 };
		struct portrait before;
		int error;

		open_world();
		r->build(&s);
		lru_add_drain_all();
		before = take_portrait(&s);
		error = split_at(s.page, 7, r->order);
		if (error != r->error || vmstat("thp_split_page_failed") != r->failed || vmstat("thp_split_page"))
			fail_msg("%s: %d, %ld failed", r->name, error, (long)vmstat("thp_split_page_failed"));
		expect_portrait(r->name, &before, &s);
		expect_pieces(r->name, s.page, NR, ORDER);
		r->undo(&s);
		expect_filled(s.addr, NR, 1);
		expect_sound();
		/* Nothing lasting: now it goes, where its kind allows it. */
		assert_int_equal(split_at(s.page, 7, r->order == 0 ? 0 : 2), 0);
		expect_filled(s.addr, NR, 1);
		expect_sound();
		scene_close();
	}
}

static struct page *wanted;

/* Somebody finds the page while it is being unmapped, after the look and before the freeze. */
static void take_reference(void *arg, enum ps_tracepoint tracepoint, const void *event)
{
	bool *taken = arg;

	(void)tracepoint;
	(void)event;
	if (!*taken)
		get_page(wanted);
	*taken = true;
}

/*
 * An anonymous huge page, mapped by PTEs.
 *   1. A looks: nobody else holds it; and unmaps it
 *   2. B takes a reference while migration entries are written
 *   3. A cannot freeze it
 * Expect -EAGAIN (-EBUSY to order 0), the page whole, all of it mapped again, by PTEs, with all its words.
 */
static void a_reference_that_comes_late_puts_everything_back(void **state)
{
	unsigned int order, i;

	(void)state;
	for (order = 0; order < ORDER; order++) {
		bool taken = false;
		struct ps_probe probe = { .tracepoint = PS_TP_set_migration_pte, .fn = take_reference, .arg = &taken };
		u64 r;

		if (order == 1)
			continue;
		open_world();
		r = map_huge_filled(1, 1);
		wanted = page_at(r);
		assert_int_equal(do_mprotect(current->mm, r, pages(1), RO), 0);
		assert_int_equal(do_mprotect(current->mm, r, pages(1), RW), 0);
		lru_add_drain_all();
		assert_int_equal(ps_probe_register(scene->stats, &probe), 0);
		assert_int_equal(split_at(wanted, 3, order), order ? -EAGAIN : -EBUSY);
		assert_int_equal(ps_probe_unregister(scene->stats, &probe), 0);
		assert_true(taken);
		assert_int_equal(page_ref_count(wanted), NR + 1);
		assert_int_equal(total_mapcount(wanted), NR);
		assert_int_equal(vmstat("thp_split_page_failed"), 1);
		expect_pieces("whole", wanted, NR, ORDER);
		for (i = 0; i < NR; i++)
			assert_true(exclusive_at(r + pages(i)));
		put_page(wanted);
		expect_filled(r, NR, 1);
		expect_sound();
		assert_int_equal(split_at(wanted, 3, order), 0);
		expect_pieces("apart", wanted, NR, order);
		expect_filled(r, NR, 1);
		expect_sound();
		scene_close();
	}
}

/* Expect -ENOMEM with nothing changed for each allocation that fails, then success. */
static void without_memory_nothing_comes_apart(void **state)
{
	unsigned int order, failures = 0;
	u64 n;

	(void)state;
	for (order = 0; order < ORDER; order++) {
		struct subject s = { 0 };
		struct portrait before;

		open_world();
		build_huge_tmpfs(&s);
		lru_add_drain_all();
		before = take_portrait(&s);
		for (n = 1;; n++) {
			int error;

			ps_alloc_fail_nth(n);
			error = split_at(s.page, 0, order);
			if (ps_alloc_fail_nth(0)) {
				assert_int_equal(error, 0);
				break;
			}
			assert_int_equal(error, -ENOMEM);
			failures++;
			expect_portrait("without memory", &before, &s);
			expect_found(s.page, ORDER);
			expect_sound();
		}
		expect_found(s.page, order);
		expect_filled(s.addr, NR, 1);
		expect_sound();
		scene_close();
	}
	assert_true(failures);
}

/* ---- the end of a file, the queue, the caller's list */

/*
 * A huge page of a file of 5 pages. Expect pieces behind the end to leave the file and be freed, the one across it to stay.
 *
 *      order 1:  0 1 | 2 3 | 4 - | . . | ...       stay: 3 pieces
 */
static void pieces_behind_the_end_of_their_file_leave_it(void **state)
{
	static const unsigned int stay[ORDER] = { 5, 6, 8, 8, 16 };
	unsigned int order;

	(void)state;
	for (order = 0; order < ORDER; order++) {
		struct ps_page_source source;
		struct inode *inode;
		struct page *head;
		pgoff_t i;

		open_world();
		scene->machine->files->tmpfs_huge = SHMEM_HUGE_ALWAYS;
		ps_policy_page_source(&source);
		assert_int_equal(ps_file_open(scene->machine->files, "/t/f", true, &inode), 0);
		for (i = 0; i < 5; i++)
			assert_int_equal(file_write_page(inode, i, word_of(4, i), &source), 0);
		head = find_get_page(inode->i_mapping, 0);
		assert_int_equal(compound_order(head), ORDER);
		put_page(head);
		lru_add_drain_all();
		assert_int_equal(split_at(head, 0, order), 0);
		assert_int_equal(inode->i_mapping->nrpages, stay[order]);
		assert_int_equal(node_page_state(0, NR_SHMEM), stay[order]);
		for (i = 0; i < NR; i++) {
			struct page *page = find_get_page(inode->i_mapping, i);

			assert_ptr_equal(page, i < stay[order] ? head + i : NULL);
			assert_int_equal(page_ref_count(head + (i >> order << order)) != 0, i < stay[order]);
			if (page)
				put_page(page);
		}
		expect_sound();
		for (i = 0; i < 5; i++) {
			u64 word;

			assert_int_equal(file_read_page(inode, i, &word, &source), 1);
			assert_int_equal(word, word_of(4, i));
		}
		iput(inode);
		scene_close();
	}
}

/*
 * Pages 4 and 5 of a huge page are unmapped: it is on the queue.
 *   1. split to order 2: nothing is on the queue, the piece that lost two pages included
 *   2. page 9 is unmapped: its piece is, and no other
 * Expect the shrinker to make small pages of that piece alone.
 */
static void pieces_have_their_own_place_in_the_queue(void **state)
{
	u64 r = map_huge_filled(1, 1);
	struct page *head = page_at(r);
	struct deferred_split *queue = get_deferred_split_queue(head);

	(void)state;
	assert_int_equal(do_munmap(current->mm, r + pages(4), pages(2)), 0);
	lru_add_drain_all();
	assert_int_equal(queue->split_queue_len, 1);
	assert_int_equal(split_at(head, 0, 2), 0);
	assert_int_equal(queue->split_queue_len, 0);
	assert_true(list_empty(&queue->split_queue));
	expect_sound();
	assert_int_equal(do_munmap(current->mm, r + pages(9), pages(1)), 0);
	assert_int_equal(queue->split_queue_len, 1);
	assert_false(list_empty(page_deferred_list(head + 8)));
	expect_sound();
	assert_int_equal(deferred_split_scan(NULL, &(struct shrink_control){ .nid = 0, .nr_to_scan = 10 }), 1);
	assert_int_equal(queue->split_queue_len, 0);
	expect_pieces("before", head, 8, 2);
	expect_pieces("the one", head + 8, 1, 0);
	expect_pieces("the one", head + 10, 2, 0);
	expect_pieces("behind", head + 12, 4, 2);
	expect_filled(r, 4, 1);
	expect_sound();
}

/* The caller has isolated the page. Expect the other pieces on its list, each with a reference of its own and off the LRU. */
static void pieces_of_an_isolated_page_go_to_its_callers_list(void **state)
{
	u64 r = map_huge_filled(1, 1);
	struct page *head = page_at(r);
	struct list_head *pos, *next;
	unsigned int i = 8;
	LIST_HEAD(list);

	(void)state;
	lru_add_drain_all();
	get_page(head);
	assert_int_equal(isolate_lru_page(head), 0);
	put_page(head);
	lock_page(head);
	assert_int_equal(split_huge_page_to_list_to_order(head, &list, 3), 0);
	unlock_page(head);
	list_for_each_safe(pos, next, &list)
	{
		struct page *piece = container_of(pos, struct page, lru);

		/* Built from the last to the second. */
		assert_ptr_equal(piece, head + NR - i);
		assert_true(!PageLRU(piece) && compound_order(piece) == 3);
		assert_int_equal(page_ref_count(piece), 8 + 1);
		list_del(&piece->lru);
		putback_lru_page(piece);
		i += 8;
	}
	assert_int_equal(i, NR);
	putback_lru_page(head);
	lru_add_drain_all();
	expect_filled(r, NR, 1);
	expect_sound();
}

/* Reclaim and truncation meet pieces. Expect them to go like any page: pieces in swap by themselves, half of one cut off. */
static void pieces_are_reclaimed_and_truncated(void **state)
{
	u64 r, t;
	struct inode *inode;

	(void)state;
	swap_on(4 * NR);
	r = map_huge_filled(1, 1);
	split_huge_pages_range(current->mm, r, r + pages(NR), 2);
	scene->machine->files->tmpfs_huge = SHMEM_HUGE_ALWAYS;
	t = map_file("/t/f", 0, NR, RW, SHARED);
	fill(t, NR, 2);
	split_huge_pages_range(current->mm, t, t + pages(NR), 3);
	assert_int_equal(do_madvise(current->mm, r, pages(NR), PS_MADV_PAGEOUT), 0);
	expect_sound();
	expect_filled(r, NR, 1);
	inode = open_file("/t/f");
	assert_int_equal(file_truncate(inode, 13ull << PAGE_SHIFT), 0);
	expect_filled(t, 13, 2);
	assert_int_equal(inode->i_mapping->nrpages, 13);
	expect_pieces("before the cut", page_at(t), 8, 3);
	iput(inode);
	expect_sound();
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_comes_apart_to_every_order),
		test(a_piece_can_be_split_again),
		cmocka_unit_test(a_refused_page_is_as_it_was),
		cmocka_unit_test(a_reference_that_comes_late_puts_everything_back),
		cmocka_unit_test(without_memory_nothing_comes_apart),
		cmocka_unit_test(pieces_behind_the_end_of_their_file_leave_it),
		test(pieces_have_their_own_place_in_the_queue),
		test(pieces_of_an_isolated_page_go_to_its_callers_list),
		test(pieces_are_reclaimed_and_truncated),
	};

	return cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
