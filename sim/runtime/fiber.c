/* SPDX-License-Identifier: MIT */
/* Stacks and switches; see fiber.h. */
#ifndef PS_NATIVE

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/mman.h>

#include "runtime/fiber.h"

#include <pagesim/alloc.h>
#include <pagesim/sanitizer.h>

#ifdef PS_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef PS_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define PS_VALGRIND 1
#endif
#endif

/* boost.context's C entry points (libboost_context); its headers are C++. */
struct transfer {
	void *context; /* of the side that jumped here */
	void *data;
};
extern struct transfer jump_fcontext(void *to, void *data);
extern void *make_fcontext(void *stack_top, size_t bytes, void (*entry)(struct transfer));

static void tsan_begin(struct ps_fiber *f)
{
#ifdef PS_TSAN
	if (f->tsan)
		__tsan_destroy_fiber(f->tsan);
	f->tsan = __tsan_create_fiber(0);
#endif
}

/* What both sides of a switch do when they have arrived: `left` has just stopped at `context`. */
static void arrived(struct ps_fiber *self, struct ps_fiber *left, void *context)
{
	left->context = context;
#ifdef PS_ASAN
	/* Also learns the bounds of the host's stack, the first time it is left. */
	__sanitizer_finish_switch_fiber(self->asan_fake, &left->asan_bottom, &left->asan_size);
#endif
}

/* The bottom of every stack of ours. */
static void fiber_begins(struct transfer from)
{
	struct ps_fiber **pair = (struct ps_fiber **)from.data;
	struct ps_fiber *self = pair[1];

	arrived(self, pair[0], from.context);
	for (;;)
		self->entry();
}

static void begin_anew(struct ps_fiber *f)
{
	f->context = make_fcontext(f->stack + f->stack_bytes, f->stack_bytes, fiber_begins);
	f->spoilt = false;
	f->asan_fake = NULL;
	f->asan_bottom = f->stack;
	f->asan_size = f->stack_bytes;
#ifdef PS_ASAN
	/* Calls that never returned, here or in whoever had this address before, have left their red zones. */
	__asan_unpoison_memory_region(f->stack, f->stack_bytes);
#endif
	tsan_begin(f);
}

static struct ps_fiber *fiber_new(size_t bytes)
{
	struct ps_fiber *f = ps_zalloc(sizeof(*f));
	char *base;

	if (!f)
		return NULL;
	base = mmap(NULL, bytes + PAGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (base == MAP_FAILED)
		goto out_free;
	if (mprotect(base, PAGE_SIZE, PROT_NONE))
		goto out_unmap;
	f->stack = base + PAGE_SIZE;
	f->stack_bytes = bytes;
#ifdef PS_VALGRIND
	f->valgrind = VALGRIND_STACK_REGISTER(f->stack, f->stack + bytes);
#endif
	begin_anew(f);
	return f;

out_unmap:
	munmap(base, bytes + PAGE_SIZE);
out_free:
	ps_free(f);
	return NULL;
}

struct ps_fiber *ps_fiber_get(struct ps_fiber_pool *pool, void (*entry)(void))
{
	struct ps_fiber *f = pool->free;

	if (!f)
		f = fiber_new(pool->stack_bytes);
	else
		pool->free = f->next;
	if (!f)
		return NULL;
	if (f->spoilt)
		begin_anew(f);
	f->entry = entry;
	return f;
}

void ps_fiber_put(struct ps_fiber_pool *pool, struct ps_fiber *f)
{
	if (!f)
		return;
	f->next = pool->free;
	pool->free = f;
}

void ps_fiber_pool_empty(struct ps_fiber_pool *pool)
{
	struct ps_fiber *f;

	while ((f = pool->free)) {
		pool->free = f->next;
#ifdef PS_VALGRIND
		VALGRIND_STACK_DEREGISTER(f->valgrind);
#endif
#ifdef PS_TSAN
		__tsan_destroy_fiber(f->tsan);
#endif
#ifdef PS_ASAN
		__asan_unpoison_memory_region(f->stack, f->stack_bytes);
#endif
		munmap(f->stack - PAGE_SIZE, f->stack_bytes + PAGE_SIZE);
		ps_free(f);
	}
}

void ps_fiber_init_host(struct ps_fiber *f)
{
#ifdef PS_TSAN
	f->tsan = __tsan_get_current_fiber();
#endif
	(void)f;
}

void ps_fiber_switch(struct ps_fiber *from, struct ps_fiber *to)
{
	struct ps_fiber *pair[2] = { from, to };
	struct transfer back;

#ifdef PS_ASAN
	/* Without a place for the fake stack it is freed: nobody comes back to a spoilt fiber. */
	__sanitizer_start_switch_fiber(from->spoilt ? NULL : &from->asan_fake, to->asan_bottom, to->asan_size);
#endif
#ifdef PS_TSAN
	__tsan_switch_to_fiber(to->tsan, 0);
#endif
	back = jump_fcontext(to->context, pair);
	/* Whoever came back describes it in the pair of theirs. */
	arrived(from, ((struct ps_fiber **)back.data)[0], back.context);
}

#else
typedef int ps_native_has_no_fibers;
#endif
