/* SPDX-License-Identifier: MIT */
/*
 * Where something that has left memory went, or what stands for a page that is on its way: a type and an offset in one
 * word. Types below MAX_SWAPFILES are swap areas, the offset is the slot; the three migration types sit above them, the
 * offset is the frame. The same word is kept in a page table entry (pgtable.h adds the bits of the mapping), in
 * page->private_data of a page in the swap cache, and in the page cache of shared memory, as a value entry (swap.h).
 *
 *    63 62 61                                  12 11    8 7        3 2 1 0
 *   | D| Y|               offset                |   0    |   type   |E|S|0|      E, S, Y, D: of the mapping (pgtable.h)
 *
 * Type 0 offset 0 does not occur: slot 0 of an area holds its header. So the word of an entry is never 0.
 *
 * Fidelity: exact in what there is; the layout is our own.
 *
 * Layer: page
 */
#ifndef PAGESIM_SWP_ENTRY_H
#define PAGESIM_SWP_ENTRY_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define _SWP_TYPE_SHIFT   3
#define _SWP_TYPE_MASK    0x1fULL
#define _SWP_OFFSET_SHIFT 12
#define _SWP_OFFSET_MASK  ((1ULL << 50) - 1)

/* The three kinds of migration entry sit above all swap areas, as in Linux. */
#define MAX_SWAPFILES                24
#define SWP_MIGRATION_READ           (MAX_SWAPFILES + 1)
#define SWP_MIGRATION_READ_EXCLUSIVE (MAX_SWAPFILES + 2)
#define SWP_MIGRATION_WRITE          (MAX_SWAPFILES + 3)

/** An area or migration type, and an offset (slot, or PFN for a migration entry). */
typedef struct {
	u64 val;
} swp_entry_t;

static inline swp_entry_t swp_entry(unsigned int type, u64 offset)
{
	swp_entry_t e = { ((u64)type << _SWP_TYPE_SHIFT) | ((offset & _SWP_OFFSET_MASK) << _SWP_OFFSET_SHIFT) };
	return e;
}
static inline unsigned int swp_type(swp_entry_t e)
{
	return (unsigned int)((e.val >> _SWP_TYPE_SHIFT) & _SWP_TYPE_MASK);
}
static inline u64 swp_offset(swp_entry_t e)
{
	return (e.val >> _SWP_OFFSET_SHIFT) & _SWP_OFFSET_MASK;
}
static inline bool is_migration_entry(swp_entry_t e)
{
	return swp_type(e) >= SWP_MIGRATION_READ && swp_type(e) <= SWP_MIGRATION_WRITE;
}
static inline bool is_writable_migration_entry(swp_entry_t e)
{
	return swp_type(e) == SWP_MIGRATION_WRITE;
}
static inline bool is_readable_migration_entry(swp_entry_t e)
{
	return swp_type(e) == SWP_MIGRATION_READ;
}
static inline bool is_readable_exclusive_migration_entry(swp_entry_t e)
{
	return swp_type(e) == SWP_MIGRATION_READ_EXCLUSIVE;
}
/** Does it stand for something that is not in a swap area? */
static inline bool non_swap_entry(swp_entry_t e)
{
	return swp_type(e) >= MAX_SWAPFILES;
}

#ifdef __cplusplus
}
#endif
#endif
