/* SPDX-License-Identifier: MIT */
/*
 * The words everything else is written in: integer names, page geometry, and the few macros the kernel's own code is
 * unreadable without. Nothing here has state.
 *
 * Layer: base
 */
#ifndef PAGESIM_TYPES_H
#define PAGESIM_TYPES_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

/** Number of a page frame: physical address / PAGE_SIZE. */
typedef u64 pfn_t;
/** Number of a page inside a file or a mapping. */
typedef u64 pgoff_t;
/** Number of a NUMA node, or NUMA_NO_NODE. */
typedef int nid_t;
/** Allocation flags, see gfp.h. */
typedef u32 gfp_t;
/** Virtual time or a duration, in nanoseconds. */
typedef u64 ps_ns_t;

#define U64_MAX      UINT64_MAX
#define NUMA_NO_NODE (-1)
#define MAX_NUMNODES 64
#define PAGE_SHIFT   12
#define PAGE_SIZE    (1UL << PAGE_SHIFT)
#define PAGE_MASK    (~(PAGE_SIZE - 1))

#ifndef likely
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif

#define ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define ps_min(a, b)                           \
	__extension__({                        \
		__typeof__(a) ps_a_ = (a);     \
		__typeof__(b) ps_b_ = (b);     \
		ps_a_ < ps_b_ ? ps_a_ : ps_b_; \
	})
#define ps_max(a, b)                           \
	__extension__({                        \
		__typeof__(a) ps_a_ = (a);     \
		__typeof__(b) ps_b_ = (b);     \
		ps_a_ > ps_b_ ? ps_a_ : ps_b_; \
	})

#endif
