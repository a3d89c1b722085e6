/* SPDX-License-Identifier: MIT */
/*
 * Finding struct page in BTF. The BTF here is made by hand, word by word as the format says, so that what a kernel tells is
 * known: once as 6.1 lays struct page out, once as a later kernel does.
 */
#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "btf.h"
#include "frames.h"

/* ---- a writer of BTF ---- */

enum {
	INT = 1,
	PTR,
	STRUCT = 4,
	UNION,
	ENUM,
	FWD,
	TYPEDEF,
	CONST = 10,
};

struct writer {
	u8 types[8192];
	char strings[4096];
	u32 nr_types, types_size, strings_size;
};

static void begin(struct writer *w)
{
	memset(w, 0, sizeof(*w));
	w->strings_size = 1; /* string 0 is empty */
}

static u32 string(struct writer *w, const char *text)
{
	u32 at = w->strings_size;

	if (!*text)
		return 0;
	strcpy(w->strings + at, text);
	w->strings_size += (u32)strlen(text) + 1;
	return at;
}

static void word(struct writer *w, u32 value)
{
	memcpy(w->types + w->types_size, &value, 4);
	w->types_size += 4;
}

static u32 type(struct writer *w, const char *name, u32 kind, u32 members, u32 size)
{
	word(w, string(w, name));
	word(w, kind << 24 | members);
	word(w, size);
	return ++w->nr_types;
}

static u32 integer(struct writer *w, const char *name, u32 size)
{
	u32 id = type(w, name, INT, 0, size);

	word(w, size * 8);
	return id;
}

static void member(struct writer *w, const char *name, u32 of, u32 byte)
{
	word(w, string(w, name));
	word(w, of);
	word(w, byte * 8);
}

static void enumerator(struct writer *w, const char *name, u32 value)
{
	word(w, string(w, name));
	word(w, value);
}

/* The whole file. Return: its size. */
static size_t finish(const struct writer *w, u8 *file)
{
	u32 header[6] = { 0x0001eb9f, 24, 0, w->types_size, w->types_size, w->strings_size };

	memcpy(file, header, sizeof(header));
	memcpy(file + 24, w->types, w->types_size);
	memcpy(file + 24 + w->types_size, w->strings, w->strings_size);
	return 24 + w->types_size + w->strings_size;
}

/*
 * struct page of 6.1, as far as anybody asks:
 *
 *	0   flags
 *	8   union { struct { lru, mapping }, struct { compound_head, compound_dtor, compound_order, compound_mapcount,
 *	            compound_pincount } }
 *	52  _refcount (an atomic_t)
 */
static size_t page_of_6_1(u8 *file)
{
	struct writer w;
	u32 u8_, u32_, u64_, atomic, first, tail, either, folded;

	begin(&w);
	type(&w, "page", FWD, 0, 0); /* a bare declaration: no struct */
	u8_ = integer(&w, "unsigned char", 1);
	u32_ = integer(&w, "int", 4);
	u64_ = integer(&w, "long unsigned int", 8);
	folded = type(&w, "refs", STRUCT, 1, 4);
	member(&w, "counter", u32_, 0);
	atomic = type(&w, "atomic_t", TYPEDEF, 0, folded);
	first = type(&w, "", STRUCT, 2, 24);
	member(&w, "lru", u64_, 0);
	member(&w, "mapping", u64_, 16);
	tail = type(&w, "", STRUCT, 5, 24);
	member(&w, "compound_head", u64_, 0);
	member(&w, "compound_dtor", u8_, 8);
	member(&w, "compound_order", u8_, 9);
	member(&w, "compound_mapcount", atomic, 12);
	member(&w, "compound_pincount", atomic, 16);
	either = type(&w, "", UNION, 2, 40);
	member(&w, "", first, 0);
	member(&w, "", tail, 0);
	type(&w, "page", STRUCT, 3, 64);
	member(&w, "flags", u64_, 0);
	member(&w, "", either, 8);
	member(&w, "_refcount", atomic, 52);
	type(&w, "pageflags", ENUM, 3, 4);
	enumerator(&w, "PG_locked", 0);
	enumerator(&w, "PG_mappedtodisk", 16);
	enumerator(&w, "PG_anon_exclusive", 16);
	return finish(&w, file);
}

/* A later kernel: what was in the first tail has names in struct folio, and the order is a byte of a word of flags. */
static size_t page_of_later(u8 *file)
{
	struct writer w;
	u32 u32_, u64_, one, two, either;

	begin(&w);
	u32_ = integer(&w, "int", 4);
	u64_ = integer(&w, "long unsigned int", 8);
	type(&w, "page", STRUCT, 3, 64);
	member(&w, "flags", u64_, 0);
	member(&w, "compound_head", u64_, 8);
	member(&w, "_refcount", u32_, 52);
	one = type(&w, "", STRUCT, 1, 64);
	member(&w, "_folio_stuff", u64_, 0);
	two = type(&w, "", STRUCT, 4, 64);
	member(&w, "_flags_1", u64_, 0);
	member(&w, "_large_mapcount", u32_, 16);
	member(&w, "_entire_mapcount", u32_, 20);
	member(&w, "_pincount", u32_, 28);
	either = type(&w, "", UNION, 1, 64);
	member(&w, "", two, 0);
	type(&w, "folio", STRUCT, 2, 128);
	member(&w, "", one, 0);
	member(&w, "", either, 64);
	return finish(&w, file);
}

static u8 file[16384];

/* ---- tests ---- */

/* Expect members of anonymous members at their sum, sizes behind typedefs, and the struct rather than its declaration. */
static void members_are_found_through_anonymous_structs_and_unions(void **state)
{
	static const struct {
		const char *member;
		u32 offset, bytes;
	} wanted[] = { { "flags", 0, 8 },           { "lru", 8, 8 },
		       { "mapping", 24, 8 },        { "compound_head", 8, 8 },
		       { "compound_order", 17, 1 }, { "compound_mapcount", 20, 4 },
		       { "_refcount", 52, 4 } };
	struct btf_member m = { 99, 99 };
	struct btf btf;

	assert_int_equal(btf_init(&btf, file, page_of_6_1(file)), 0);
	assert_int_equal(btf_struct_size(&btf, "page"), 64);
	assert_int_equal(btf_struct_size(&btf, "folio"), -ENOENT);
	assert_int_equal(btf_find_member(&btf, "page", "no_such_member", &m), -ENOENT);
	assert_int_equal(btf_find_member(&btf, "no_such_struct", "flags", &m), -ENOENT);
	assert_int_equal(m.offset, 99);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		assert_int_equal(btf_find_member(&btf, "page", wanted[i].member, &m), 0);
		assert_int_equal(m.offset, wanted[i].offset);
		assert_int_equal(m.bytes, wanted[i].bytes);
	}
	btf_destroy(&btf);
}

static void enumerators_have_their_values(void **state)
{
	struct btf btf;
	s32 value = -7;

	assert_int_equal(btf_init(&btf, file, page_of_6_1(file)), 0);
	assert_int_equal(btf_find_enumerator(&btf, "PG_nothing", &value), -ENOENT);
	assert_int_equal(value, -7);
	assert_int_equal(btf_find_enumerator(&btf, "PG_anon_exclusive", &value), 0);
	assert_int_equal(value, 16);
	btf_destroy(&btf);
}

/* Expect what 6.1 keeps in the first tail page one struct page behind the head's begin. */
static void layout_of_6_1(void **state)
{
	struct page_layout l;
	struct btf btf;

	assert_int_equal(btf_init(&btf, file, page_of_6_1(file)), 0);
	assert_null(page_layout_of(&btf, &l));
	assert_int_equal(l.bytes, 64);
	assert_int_equal(l.flags, 0);
	assert_int_equal(l.mapping, 24);
	assert_int_equal(l.compound_head, 8);
	assert_int_equal(l.refcount, 52);
	assert_int_equal(l.order, 64 + 17);
	assert_int_equal(l.pmd_mapcount, 64 + 20);
	assert_int_equal(l.pincount, 64 + 24);
	assert_int_equal(l.exclusive_bit, 16);
	btf_destroy(&btf);
}

static void layout_of_a_later_kernel(void **state)
{
	struct page_layout l;
	struct btf btf;

	assert_int_equal(btf_init(&btf, file, page_of_later(file)), 0);
	assert_null(page_layout_of(&btf, &l));
	assert_int_equal(l.order, 64);
	assert_int_equal(l.pmd_mapcount, 64 + 20);
	assert_int_equal(l.pincount, 64 + 28);
	assert_int_equal(l.mapping, -1);
	assert_int_equal(l.exclusive_bit, -1);
	btf_destroy(&btf);
}

/* Expect the name of what is missing, not a layout with holes. */
static void a_kernel_without_struct_page_is_refused(void **state)
{
	struct page_layout l;
	struct writer w;
	struct btf btf;

	begin(&w);
	integer(&w, "int", 4);
	assert_int_equal(btf_init(&btf, file, finish(&w, file)), 0);
	assert_string_equal(page_layout_of(&btf, &l), "struct page");
	btf_destroy(&btf);

	begin(&w);
	integer(&w, "int", 4);
	type(&w, "page", STRUCT, 1, 64);
	member(&w, "flags", 1, 0);
	assert_int_equal(btf_init(&btf, file, finish(&w, file)), 0);
	assert_string_equal(page_layout_of(&btf, &l), "page._refcount");
	btf_destroy(&btf);
}

/* A struct that contains itself, without a name, is no reason to look for ever. */
static void a_struct_within_itself_ends(void **state)
{
	struct btf_member m;
	struct writer w;
	struct btf btf;

	begin(&w);
	type(&w, "page", STRUCT, 1, 64);
	member(&w, "", 1, 0);
	assert_int_equal(btf_init(&btf, file, finish(&w, file)), 0);
	assert_int_equal(btf_find_member(&btf, "page", "flags", &m), -ENOENT);
	btf_destroy(&btf);
}

/*
 * Every prefix of a file, and every byte of it turned over: expect -EINVAL or answers, and (under the sanitizer) no read beyond
 * the end. The bytes lie in a block of exactly their size.
 */
static void damaged_files_are_refused_or_answer(void **state)
{
	size_t size = page_of_6_1(file);

	for (size_t cut = 0; cut < size; cut++) {
		u8 *copy = malloc(cut ? cut : 1);
		struct btf btf;

		memcpy(copy, file, cut);
		assert_int_equal(btf_init(&btf, copy, cut), -EINVAL);
		free(copy);
	}
	for (size_t i = 0; i < size; i++) {
		u8 *copy = malloc(size);
		struct page_layout l;
		struct btf btf;

		memcpy(copy, file, size);
		copy[i] ^= 0xff;
		if (!btf_init(&btf, copy, size))
			page_layout_of(&btf, &l);
		btf_destroy(&btf);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_found_through_anonymous_structs_and_unions),
		cmocka_unit_test(enumerators_have_their_values),
		cmocka_unit_test(layout_of_6_1),
		cmocka_unit_test(layout_of_a_later_kernel),
		cmocka_unit_test(a_kernel_without_struct_page_is_refused),
		cmocka_unit_test(a_struct_within_itself_ends),
		cmocka_unit_test(damaged_files_are_refused_or_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
