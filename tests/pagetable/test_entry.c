/* SPDX-License-Identifier: MIT */
/*
 * Page table entries as 64 bits: every predicate for every shape, every change and what it leaves alone. The same table is
 * run over PTEs and over PMD leaves.
 */
#include "cmocka_all.h"

#include <pagesim/pgtable.h>

#define PFN        0x123456789aULL
#define PTE(flags) ((PFN << PAGE_SHIFT) | (flags))

/* What a shape of entry answers. */
struct shape {
	const char *name;
	u64 val;
	bool none, present, protnone, write, dirty, young, soft_dirty, special, swap, migration;
};

static const struct shape shapes[] = {
	{ .name = "none", .val = 0, .none = true },
	{ .name = "read-only", .val = PTE(PAGE_READONLY), .present = true, .young = true },
	{ .name = "writable", .val = PTE(PAGE_SHARED), .present = true, .young = true, .write = true },
	{ .name = "PROT_NONE", .val = PTE(PAGE_NONE), .present = true, .protnone = true, .young = true },
	{ .name = "old and dirty",
	  .val = PTE(_PAGE_PRESENT | _PAGE_RW | _PAGE_DIRTY),
	  .present = true,
	  .write = true,
	  .dirty = true },
	{ .name = "soft-dirty",
	  .val = PTE(_PAGE_PRESENT | _PAGE_SOFT_DIRTY | _PAGE_ACCESSED),
	  .present = true,
	  .young = true,
	  .soft_dirty = true },
	{ .name = "zero page",
	  .val = PTE(PAGE_READONLY | _PAGE_SPECIAL),
	  .present = true,
	  .young = true,
	  .special = true },
	{ .name = "swap", .val = (3ULL << _SWP_TYPE_SHIFT) | (77ULL << _SWP_OFFSET_SHIFT), .swap = true },
	{ .name = "migration, read",
	  .val = ((u64)SWP_MIGRATION_READ << _SWP_TYPE_SHIFT) | (PFN << _SWP_OFFSET_SHIFT),
	  .swap = true,
	  .migration = true },
	{ .name = "migration, read exclusive",
	  .val = ((u64)SWP_MIGRATION_READ_EXCLUSIVE << _SWP_TYPE_SHIFT) | (PFN << _SWP_OFFSET_SHIFT),
	  .swap = true,
	  .migration = true },
	{ .name = "migration, write",
	  .val = ((u64)SWP_MIGRATION_WRITE << _SWP_TYPE_SHIFT) | (PFN << _SWP_OFFSET_SHIFT),
	  .swap = true,
	  .migration = true },
	{ .name = "migration with young and dirty",
	  .val = ((u64)SWP_MIGRATION_WRITE << _SWP_TYPE_SHIFT) | (PFN << _SWP_OFFSET_SHIFT) | _SWP_YOUNG | _SWP_DIRTY,
	  .swap = true,
	  .migration = true },
};

#define expect_bit(shape, what, is)                                                               \
	do {                                                                                      \
		if ((is) != (shape)->what)                                                        \
			fail_msg("an entry '%s' says %s = %d", (shape)->name, #what, (bool)(is)); \
	} while (0)

/* Predicates that make sense for a shape only are asked for present entries only, as the kernel does. */
#define expect_shape(p, shape, e)                                          \
	do {                                                               \
		expect_bit(shape, none, p##_none(e));                      \
		expect_bit(shape, present, p##_present(e));                \
		expect_bit(shape, swap, is_swap_##p(e));                   \
		expect_bit(shape, migration, is_##p##_migration_entry(e)); \
		if (!p##_present(e))                                       \
			break;                                             \
		expect_bit(shape, protnone, p##_protnone(e));              \
		expect_bit(shape, write, p##_write(e));                    \
		expect_bit(shape, dirty, p##_dirty(e));                    \
		expect_bit(shape, young, p##_young(e));                    \
		expect_bit(shape, soft_dirty, p##_soft_dirty(e));          \
		expect_bit(shape, special, p##_special(e));                \
		assert_int_equal(p##_pfn(e), PFN);                         \
	} while (0)

static void every_shape_answers_every_predicate(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		u64 leaf = shapes[i].val && shapes[i].present ? shapes[i].val | _PAGE_PSE : shapes[i].val;

		expect_shape(pte, &shapes[i], __pte(shapes[i].val));
		expect_shape(pmd, &shapes[i], __pmd(leaf));
	}
}

/* A PMD besides: a table, a huge page, a migration entry of one. */
static void a_PMD_is_none_table_or_leaf(void **state)
{
	static u64 table[512] __attribute__((aligned(4096)));
	pmd_t t = __pmd((u64)(uintptr_t)table | _PAGE_TABLE);
	pmd_t huge = pfn_pmd_huge(PFN & ~511ULL, PAGE_SHARED);
	pmd_t protnone = pmd_modify(huge, PAGE_NONE);
	pmd_t moving = swp_entry_to_pmd(swp_entry(SWP_MIGRATION_WRITE, PFN));

	(void)state;
	assert_true(pmd_table(t));
	assert_false(pmd_trans_huge(t) || pmd_leaf_or_swap(t) || pmd_none(t) || is_pmd_migration_entry(t));
	assert_ptr_equal(pmd_pte_table(t), table);
	assert_true(pmd_trans_huge(huge) && pmd_leaf_or_swap(huge));
	assert_false(pmd_table(huge));
	assert_true(pmd_trans_huge(protnone) && pmd_protnone(protnone) && pmd_leaf_or_swap(protnone));
	assert_true(pmd_leaf_or_swap(moving) && is_pmd_migration_entry(moving));
	assert_false(pmd_trans_huge(moving) || pmd_present(moving) || pmd_table(moving));
	assert_false(pmd_leaf_or_swap(__pmd(0)) || pmd_table(__pmd(0)) || pmd_trans_huge(__pmd(0)));
}

/* One change: the bits it sets and clears. Everything else must stay. */
#define expect_change(p, change, sets, clears)                                                            \
	do {                                                                                              \
		u64 base_ = PTE(PAGE_READONLY),                                                           \
		    all_ = base_ | _PAGE_RW | _PAGE_DIRTY | _PAGE_SPECIAL | _PAGE_SOFT_DIRTY | _PAGE_PSE; \
		assert_int_equal(p##_##change(__##p(base_)).val, (base_ | (sets)) & ~(u64)(clears));      \
		assert_int_equal(p##_##change(__##p(all_)).val, (all_ | (sets)) & ~(u64)(clears));        \
	} while (0)

#define expect_changes(p)                                                     \
	do {                                                                  \
		expect_change(p, mkwrite, _PAGE_RW, 0);                       \
		expect_change(p, wrprotect, 0, _PAGE_RW);                     \
		expect_change(p, mkdirty, _PAGE_DIRTY | _PAGE_SOFT_DIRTY, 0); \
		expect_change(p, mkclean, 0, _PAGE_DIRTY);                    \
		expect_change(p, mkyoung, _PAGE_ACCESSED, 0);                 \
		expect_change(p, mkold, 0, _PAGE_ACCESSED);                   \
		expect_change(p, mksoft_dirty, _PAGE_SOFT_DIRTY, 0);          \
		expect_change(p, clear_soft_dirty, 0, _PAGE_SOFT_DIRTY);      \
		expect_change(p, mkspecial, _PAGE_SPECIAL, 0);                \
	} while (0)

static void a_change_touches_its_bits_only(void **state)
{
	(void)state;
	expect_changes(pte);
	expect_changes(pmd);
}

/* Expect: protection replaced; PFN, accessed, dirty, soft-dirty, special and size kept; and back again. */
static void modify_changes_protection_only(void **state)
{
	const u64 kept = _PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_SOFT_DIRTY | _PAGE_SPECIAL | _PAGE_PSE;
	pte_t e = __pte(PTE(PAGE_SHARED | _PAGE_DIRTY | _PAGE_SOFT_DIRTY)), none, back;
	pmd_t huge = pmd_mkdirty(pfn_pmd_huge(PFN, PAGE_SHARED)), huge_none;

	(void)state;
	none = pte_modify(e, PAGE_NONE);
	assert_true(pte_protnone(none) && pte_present(none) && !pte_write(none));
	assert_int_equal(pte_pfn(none), PFN);
	assert_int_equal(none.val & kept, e.val & kept);
	back = pte_modify(none, PAGE_READONLY);
	assert_false(pte_protnone(back) || pte_write(back));
	assert_int_equal(back.val & kept, e.val & kept);
	assert_int_equal(pte_modify(back, PAGE_SHARED).val, e.val);
	/* An old entry stays old: the protection's accessed bit is for new entries. */
	assert_false(pte_young(pte_modify(pte_mkold(e), PAGE_READONLY)));
	huge_none = pmd_modify(huge, PAGE_NONE);
	assert_int_equal(huge_none.val & kept, huge.val & kept);
	assert_int_equal(pmd_modify(huge_none, PAGE_SHARED).val, huge.val);
}

/* Every type, the largest offset, all bits that ride along. */
static void a_swap_entry_keeps_type_and_offset_under_every_bit(void **state)
{
	unsigned int type;

	(void)state;
	for (type = 0; type <= SWP_MIGRATION_WRITE; type++) {
		const u64 offsets[] = { 1, PFN, _SWP_OFFSET_MASK };
		unsigned int i;

		for (i = 0; i < ARRAY_SIZE(offsets); i++) {
			swp_entry_t entry = swp_entry(type, offsets[i]), got;
			pte_t pte = swp_entry_to_pte(entry);

			assert_false(pte_present(pte) || pte_none(pte) || pmd_table(__pmd(pte.val)));
			pte = pte_swp_mkexclusive(pte_swp_mksoft_dirty(pte));
			assert_true(pte_swp_exclusive(pte) && pte_swp_soft_dirty(pte));
			assert_false(pte_present(pte));
			got = pte_to_swp_entry(pte);
			assert_int_equal(swp_type(got), type);
			assert_int_equal(swp_offset(got), offsets[i]);
			pte = pte_swp_clear_exclusive(pte_swp_clear_soft_dirty(pte));
			assert_int_equal(pte.val, swp_entry_to_pte(entry).val);
		}
	}
}

static void migration_entries_are_of_three_kinds(void **state)
{
	swp_entry_t r = swp_entry(SWP_MIGRATION_READ, PFN), x = swp_entry(SWP_MIGRATION_READ_EXCLUSIVE, PFN),
		    w = swp_entry(SWP_MIGRATION_WRITE, PFN), swap = swp_entry(MAX_SWAPFILES - 1, PFN);

	(void)state;
	assert_true(is_migration_entry(r) && is_migration_entry(x) && is_migration_entry(w));
	assert_false(is_migration_entry(swap));
	assert_true(is_readable_migration_entry(r) && !is_readable_migration_entry(x) &&
		    !is_readable_migration_entry(w));
	assert_true(is_readable_exclusive_migration_entry(x) && !is_readable_exclusive_migration_entry(r));
	assert_true(is_writable_migration_entry(w) && !is_writable_migration_entry(x));
	/* Young and dirty ride above the offset. */
	w.val |= _SWP_YOUNG;
	assert_true(pte_migration_young(swp_entry_to_pte(w)) && !pte_migration_dirty(swp_entry_to_pte(w)));
	w.val |= _SWP_DIRTY;
	assert_true(pmd_migration_dirty(swp_entry_to_pmd(w)));
	assert_int_equal(swp_offset(w), PFN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_shape_answers_every_predicate),
		cmocka_unit_test(a_PMD_is_none_table_or_leaf),
		cmocka_unit_test(a_change_touches_its_bits_only),
		cmocka_unit_test(modify_changes_protection_only),
		cmocka_unit_test(a_swap_entry_keeps_type_and_offset_under_every_bit),
		cmocka_unit_test(migration_entries_are_of_three_kinds),
	};

	return cmocka_run_group_tests_name("entries", tests, NULL, NULL);
}
