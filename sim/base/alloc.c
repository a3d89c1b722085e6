/* SPDX-License-Identifier: MIT */
/*
 * Blocks and reserves, and the counters of everything that is allocated. Each request first passes request_fails(),
 * which numbers it; so fail-the-nth needs no state but the number at which to fail.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef PS_HAVE_JEMALLOC
#include <jemalloc/jemalloc.h>
#else
#include <malloc.h>
#endif

#include "base/alloc_count.h"

#include <pagesim/alloc.h>

/* All relaxed: plain statistics of the process, they order nothing. */
static struct ps_alloc_counts counts;
static u64 fail_at; /* number of the request to fail, 0: none */

#define COUNT(field, n) ((void)__atomic_fetch_add(&counts.field, (u64)(n), __ATOMIC_RELAXED))

bool ps_alloc_request_fails(void)
{
	u64 nr = __atomic_add_fetch(&counts.requests, 1, __ATOMIC_RELAXED);

	if (likely(nr != __atomic_load_n(&fail_at, __ATOMIC_RELAXED)))
		return false;
	COUNT(failed, 1);
	return true;
}

void *ps_alloc_count_new(void *block, size_t bytes)
{
	if (!block) {
		COUNT(failed, 1);
		return NULL;
	}
	COUNT(live, 1);
	COUNT(live_bytes, bytes);
	return block;
}

void ps_alloc_count_gone(u64 blocks, u64 bytes)
{
	COUNT(live, 0 - blocks);
	COUNT(live_bytes, 0 - bytes);
}

void ps_alloc_counts(struct ps_alloc_counts *ret_counts)
{
	ret_counts->requests = __atomic_load_n(&counts.requests, __ATOMIC_RELAXED);
	ret_counts->live = __atomic_load_n(&counts.live, __ATOMIC_RELAXED);
	ret_counts->live_bytes = __atomic_load_n(&counts.live_bytes, __ATOMIC_RELAXED);
	ret_counts->failed = __atomic_load_n(&counts.failed, __ATOMIC_RELAXED);
	ret_counts->reserved_bytes = __atomic_load_n(&counts.reserved_bytes, __ATOMIC_RELAXED);
}

bool ps_alloc_fail_nth(u64 n)
{
	u64 now = __atomic_load_n(&counts.requests, __ATOMIC_RELAXED);
	u64 old = __atomic_exchange_n(&fail_at, n ? now + n : 0, __ATOMIC_RELAXED);

	return old > now;
}

/* ------------------------------------------------------------------ blocks */

/*
 * The host's allocator. jemalloc is asked by its own names: `malloc` may be the C library's where a program has linked that
 * first, and a block must go back to the allocator it came from.
 */
#ifdef PS_HAVE_JEMALLOC

static size_t usable_size(void *block)
{
	return sallocx(block, 0);
}

void *ps_host_alloc(size_t bytes, size_t align, bool zero)
{
	return mallocx(bytes, (align ? MALLOCX_ALIGN(align) : 0) | (zero ? MALLOCX_ZERO : 0));
}

static void *host_realloc(void *block, size_t bytes)
{
	return rallocx(block, bytes, 0);
}

void ps_host_free(void *block)
{
	dallocx(block, 0);
}

#else

static size_t usable_size(void *block)
{
	return malloc_usable_size(block);
}

void *ps_host_alloc(size_t bytes, size_t align, bool zero)
{
	void *block;

	if (!align)
		return zero ? calloc(1, bytes) : malloc(bytes);
	if (posix_memalign(&block, align < sizeof(void *) ? sizeof(void *) : align, bytes))
		return NULL;
	return zero ? memset(block, 0, bytes) : block;
}

static void *host_realloc(void *block, size_t bytes)
{
	return realloc(block, bytes);
}

void ps_host_free(void *block)
{
	free(block);
}

#endif

static void *counted(void *block)
{
	return ps_alloc_count_new(block, block ? usable_size(block) : 0);
}

void *ps_alloc(size_t bytes)
{
	if (ps_alloc_request_fails())
		return NULL;
	return counted(ps_host_alloc(bytes ? bytes : 1, 0, false));
}

void *ps_zalloc(size_t bytes)
{
	if (ps_alloc_request_fails())
		return NULL;
	return counted(ps_host_alloc(bytes ? bytes : 1, 0, true));
}

void *ps_calloc(size_t n, size_t size)
{
	size_t bytes;

	if (ps_alloc_request_fails())
		return NULL;
	if (__builtin_mul_overflow(n, size, &bytes))
		return ps_alloc_count_new(NULL, 0);
	return counted(ps_host_alloc(bytes ? bytes : 1, 0, true));
}

void *ps_alloc_aligned(size_t align, size_t bytes)
{
	if (ps_alloc_request_fails())
		return NULL;
	return counted(ps_host_alloc(bytes ? bytes : 1, align, false));
}

void *ps_realloc(void *block, size_t bytes)
{
	size_t old_bytes;
	void *moved;

	if (!block)
		return ps_alloc(bytes);
	if (ps_alloc_request_fails())
		return NULL;
	old_bytes = usable_size(block);
	moved = host_realloc(block, bytes ? bytes : 1);
	if (!moved) {
		COUNT(failed, 1);
		return NULL;
	}
	COUNT(live_bytes, usable_size(moved) - old_bytes);
	return moved;
}

char *ps_strdup(const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *copy = ps_alloc(bytes);

	if (copy)
		memcpy(copy, text, bytes);
	return copy;
}

void ps_free(void *block)
{
	if (!block)
		return;
	ps_alloc_count_gone(1, usable_size(block));
	ps_host_free(block);
}

/* ------------------------------------------------------------------ reserves */

void *ps_reserve(size_t bytes)
{
	void *base;

	if (ps_alloc_request_fails())
		return NULL;
	base = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		    0);
	if (base == MAP_FAILED) {
		COUNT(failed, 1);
		return NULL;
	}
	/* A touched byte must cost a host page, not 2 MiB. */
	madvise(base, bytes, MADV_NOHUGEPAGE);
	COUNT(reserved_bytes, bytes);
	return base;
}

void ps_unreserve(void *base, size_t bytes)
{
	if (!base)
		return;
	munmap(base, bytes ? bytes : 1);
	COUNT(reserved_bytes, 0 - (u64)bytes);
}

void ps_reserve_forget(void *base, size_t bytes)
{
	uintptr_t from = ((uintptr_t)base + PAGE_SIZE - 1) & PAGE_MASK;
	uintptr_t to = ((uintptr_t)base + bytes) & PAGE_MASK;

	if (from < to)
		madvise((void *)from, to - from, MADV_DONTNEED);
}
