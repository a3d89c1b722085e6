/* SPDX-License-Identifier: MIT */
/* Faults that no script can tell: what matters is what happens between two steps of one system call. */
#include "fixtures/scene_world.h"

#include <pagesim/tlbflush.h>

/*
 * A batch puts the flush off:
 *   1. a page is written, so the CPU remembers where it is
 *   2. somebody takes its entry away for a migration and leaves the flush for later, for all pages of his batch at once
 *   3. the owner gives the memory up before that: there is no entry any more for which a flush would be due
 *   4. the owner writes again, through what the CPU remembers
 * Expect SIGSEGV in step 4, for munmap, mremap, mprotect and zapping alike.
 */
static void what_a_batch_has_not_flushed_yet_is_flushed_for_who_comes_between(void **state)
{
	enum { MUNMAP, MREMAP, MPROTECT, DONTNEED, WAYS };
	struct task_struct *owner;
	unsigned int way;

	(void)state;
	assert_int_equal(scene_world_setup("tiny"), 0);
	owner = start("A", 0);
	for (way = 0; way < WAYS; way++) {
		u64 r = map_filled(1, 1), d = place(1), word = 0;
		struct page *page = page_at(r);
		struct tlb_batch batch = { .pending = false };

		as(scene->boot);
		get_page(page);
		lock_page(page);
		try_to_migrate(page, TTU_BATCH_FLUSH, &batch);
		assert_false(page_mapped(page));
		as(owner);
		switch (way) {
		case MUNMAP:
			assert_int_equal(do_munmap(current->mm, r, PAGE_SIZE), 0);
			break;
		case MREMAP:
			assert_int_equal(do_mremap(current->mm, r, PAGE_SIZE, d), 0);
			break;
		case MPROTECT:
			assert_int_equal(do_mprotect(current->mm, r, PAGE_SIZE, MM_PROT_NONE), 0);
			break;
		default:
			assert_int_equal(do_madvise(current->mm, r, PAGE_SIZE, PS_MADV_DONTNEED), 0);
			break;
		}
		if (way == DONTNEED) {
			assert_int_equal(try_load(r, &word), 0);
			assert_int_equal(word, 0);
		} else {
			assert_int_equal(try_store(r, 7), -EFAULT);
		}
		as(scene->boot);
		tlb_batch_flush(&batch);
		remove_migration_ptes(page, page, false);
		unlock_page(page);
		put_page(page);
		as(owner);
	}
	scene_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_batch_has_not_flushed_yet_is_flushed_for_who_comes_between),
	};

	return cmocka_run_group_tests_name("regression", tests, NULL, NULL);
}
