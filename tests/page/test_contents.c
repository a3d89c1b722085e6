/* SPDX-License-Identifier: MIT */
/*
 * What is in the frames, in each of the three modes.
 */
#include "page/scene.h"

static int setup_none(void **state)
{
	return scene_setup_with(state, &(struct scene_spec){ .no_contents = true });
}

static int setup_tag(void **state)
{
	return scene_setup_with(state, &(struct scene_spec){ .contents = PS_CONTENTS_TAG });
}

static int setup_bytes(void **state)
{
	return scene_setup_with(state, &(struct scene_spec){ .contents = PS_CONTENTS_BYTES,
							     .nr_nodes = 2,
							     .pages = { 4096, 4096 },
							     .cpus = { 1, 1 } });
}

/* Expect, in `tag` and `bytes`: what is written is read, copied, exchanged and cleared. */
static void words_are_kept(void **state)
{
	struct page *a = alloc_page(GFP_KERNEL), *b = alloc_page(GFP_KERNEL | __GFP_ZERO);

	page_word_write(a, 0x1234);
	assert_int_equal(page_word_read(a), 0x1234);
	assert_int_equal(page_word_read(b), 0);
	copy_highpage(b, a);
	assert_int_equal(page_word_read(b), 0x1234);
	page_word_write(a, 7);
	assert_int_equal(page_word_read(b), 0x1234);
	exchange_highpage(a, b);
	assert_int_equal(page_word_read(a), 0x1234);
	assert_int_equal(page_word_read(b), 7);
	clear_highpage(a);
	assert_int_equal(page_word_read(a), 0);
	put_page(a);
	put_page(b);
}

/* Expect: without contents everything reads 0 and nothing has an address. */
static void nothing_is_kept_without_contents(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	page_word_write(page, 5);
	assert_int_equal(page_word_read(page), 0);
	assert_null(page_address(page));
	assert_int_equal(page->contents, 0);
	put_page(page);
}

/* Expect: a new frame and a freed one read as poison, tails included. */
static void a_frame_without_owner_reads_as_poison(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL), *thp = new_thp(0);

	assert_int_equal(page_word_read(page), PS_CONTENTS_POISON);
	clear_huge_page(thp, 512);
	page_word_write(thp + 100, 42);
	page_word_write(page, 1);
	put_page(page);
	put_page(thp);
	assert_int_equal(page_word_read(page), PS_CONTENTS_POISON);
	assert_int_equal(page_word_read(thp + 100), PS_CONTENTS_POISON);
	assert_int_equal(page_word_read(thp), PS_CONTENTS_POISON);
}

/* Expect: __GFP_ZERO clears every page of a block. */
static void zeroed_blocks_are_zero_throughout(void **state)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_COMP, 4);
	int i;

	for (i = 0; i < 16; i++)
		assert_int_equal(page_word_read(page + i), 0);
	__free_pages(page, 4);
}

/* Expect: huge copies copy every small page; a whole frame of bytes is copied, not its first word. */
static void all_of_a_page_is_copied(void **state)
{
	struct page *a = new_thp(0), *b = new_thp(1);
	unsigned char *x, *y;
	size_t i;

	for (i = 0; i < 512; i++)
		page_word_write(a + i, i * 3 + 1);
	x = page_address(a + 511);
	if (x)
		x[PAGE_SIZE - 1] = 0x5a;
	copy_huge_page(b, a, 512);
	for (i = 0; i < 512; i++)
		assert_int_equal(page_word_read(b + i), i * 3 + 1);
	y = page_address(b + 511);
	if (y) {
		assert_int_equal(y[PAGE_SIZE - 1], 0x5a);
		assert_int_equal((uintptr_t)y % PAGE_SIZE, 0);
		assert_memory_equal(page_address(a + 17), page_address(b + 17), PAGE_SIZE);
	}
	put_page(a);
	put_page(b);
}

/* Expect: a frame keeps its memory from one life to the next, every frame its own. */
static void frames_keep_their_memory(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	void *address = page_address(page);

	assert_non_null(address);
	assert_ptr_equal(page_address(page + 1), (char *)address + PAGE_SIZE);
	put_page(page);
	assert_ptr_equal(alloc_page(GFP_KERNEL), page);
	assert_ptr_equal(page_address(page), address);
	put_page(page);
}

static void modes_have_names(void **state)
{
	assert_string_equal(ps_contents_name(PS_CONTENTS_NONE), "none");
	assert_string_equal(ps_contents_name(PS_CONTENTS_TAG), "tag");
	assert_string_equal(ps_contents_name(PS_CONTENTS_BYTES), "bytes");
	assert_null(ps_contents_name(PS_NR_CONTENTS));
}

/* The copy test wants two nodes whatever the mode. */
static int setup_tag2(void **state)
{
	return scene_setup_with(
		state, &(struct scene_spec){
			       .contents = PS_CONTENTS_TAG, .nr_nodes = 2, .pages = { 4096, 4096 }, .cpus = { 1, 1 } });
}

int main(void)
{
#define T(name, setup) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)
	const struct CMUnitTest tests[] = {
		T(words_are_kept, setup_tag),
		T(words_are_kept, setup_bytes),
		T(nothing_is_kept_without_contents, setup_none),
		T(a_frame_without_owner_reads_as_poison, setup_tag),
		T(zeroed_blocks_are_zero_throughout, setup_tag),
		T(zeroed_blocks_are_zero_throughout, setup_bytes),
		T(all_of_a_page_is_copied, setup_tag2),
		T(all_of_a_page_is_copied, setup_bytes),
		T(frames_keep_their_memory, setup_bytes),
		cmocka_unit_test(modes_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
