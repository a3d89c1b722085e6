/* SPDX-License-Identifier: MIT */
/*
 * Arenas. With jemalloc an arena of ours is an arena of its own: separate extents, destroyed in one go, its figures
 * honest. Where a sanitizer brings the allocator, an arena is a list of ordinary blocks with a header each, so that
 * the sanitizer still sees every overrun.
 */
#include <stdio.h>
#include <stdlib.h>
#ifdef PS_HAVE_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "base/alloc_count.h"

#include <pagesim/alloc.h>
#include <pagesim/list.h>

/* The sums are relaxed: statistics, they order nothing. */
struct ps_arena {
	u64 blocks, bytes;
#ifdef PS_HAVE_JEMALLOC
	unsigned int index;
#else
	int lock;
	struct list_head all;
#endif
};

static void count_block(struct ps_arena *arena, size_t bytes)
{
	__atomic_fetch_add(&arena->blocks, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&arena->bytes, bytes, __ATOMIC_RELAXED);
}

static void uncount_block(struct ps_arena *arena, size_t bytes)
{
	__atomic_fetch_sub(&arena->blocks, 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&arena->bytes, bytes, __ATOMIC_RELAXED);
	ps_alloc_count_gone(1, bytes);
}

u64 ps_arena_bytes(const struct ps_arena *arena)
{
	return __atomic_load_n(&arena->bytes, __ATOMIC_RELAXED);
}

#ifdef PS_HAVE_JEMALLOC

struct ps_arena *ps_arena_new(void)
{
	struct ps_arena *arena = ps_zalloc(sizeof(*arena));
	size_t len = sizeof(arena->index);

	if (!arena)
		return NULL;
	if (ps_alloc_request_fails() || mallctl("arenas.create", &arena->index, &len, NULL, 0)) {
		ps_free(arena);
		return NULL;
	}
	return arena;
}

void ps_arena_free(struct ps_arena *arena)
{
	char name[32];

	if (!arena)
		return;
	ps_alloc_count_gone(arena->blocks, arena->bytes);
	snprintf(name, sizeof(name), "arena.%u.destroy", arena->index);
	mallctl(name, NULL, NULL, NULL, 0);
	ps_free(arena);
}

/* No thread cache: a cached block would outlive its arena. */
static int arena_flags(const struct ps_arena *arena)
{
	return MALLOCX_ARENA(arena->index) | MALLOCX_TCACHE_NONE;
}

void *ps_arena_alloc(struct ps_arena *arena, size_t align, size_t bytes)
{
	void *block;
	size_t usable;

	if (ps_alloc_request_fails())
		return NULL;
	block = mallocx(bytes ? bytes : 1, MALLOCX_ALIGN(align ? align : 1) | arena_flags(arena));
	usable = block ? sallocx(block, 0) : 0;
	if (block)
		count_block(arena, usable);
	return ps_alloc_count_new(block, usable);
}

void ps_arena_release(struct ps_arena *arena, void *block)
{
	if (!block)
		return;
	uncount_block(arena, sallocx(block, 0));
	dallocx(block, MALLOCX_TCACHE_NONE);
}

#else

/* Stands directly before the block it describes. */
struct arena_header {
	struct list_head all;
	void *start; /* what the C library gave */
	size_t bytes;
};

static void arena_lock(struct ps_arena *arena)
{
	while (__atomic_exchange_n(&arena->lock, 1, __ATOMIC_ACQUIRE))
		;
}

static void arena_unlock(struct ps_arena *arena)
{
	__atomic_store_n(&arena->lock, 0, __ATOMIC_RELEASE);
}

struct ps_arena *ps_arena_new(void)
{
	struct ps_arena *arena = ps_zalloc(sizeof(*arena));

	if (arena)
		INIT_LIST_HEAD(&arena->all);
	return arena;
}

void ps_arena_free(struct ps_arena *arena)
{
	struct arena_header *h, *next;

	if (!arena)
		return;
	ps_alloc_count_gone(arena->blocks, arena->bytes);
	list_for_each_entry_safe(h, next, &arena->all, all)
		free(h->start);
	ps_free(arena);
}

void *ps_arena_alloc(struct ps_arena *arena, size_t align, size_t bytes)
{
	size_t room = sizeof(struct arena_header) + ps_max(align, sizeof(void *));
	struct arena_header *h;
	char *start, *block;

	if (ps_alloc_request_fails())
		return NULL;
	start = bytes < SIZE_MAX - room ? malloc(room + bytes) : NULL;
	if (!start)
		return ps_alloc_count_new(NULL, 0);
	align = ps_max(align, sizeof(void *));
	block = (char *)(((uintptr_t)start + sizeof(*h) + align - 1) & ~(uintptr_t)(align - 1));
	h = (struct arena_header *)block - 1;
	h->start = start;
	h->bytes = bytes;
	arena_lock(arena);
	list_add_tail(&h->all, &arena->all);
	arena_unlock(arena);
	count_block(arena, bytes);
	return ps_alloc_count_new(block, bytes);
}

void ps_arena_release(struct ps_arena *arena, void *block)
{
	struct arena_header *h;

	if (!block)
		return;
	h = (struct arena_header *)block - 1;
	arena_lock(arena);
	list_del(&h->all);
	arena_unlock(arena);
	uncount_block(arena, h->bytes);
	free(h->start);
}

#endif
