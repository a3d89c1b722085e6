/* SPDX-License-Identifier: MIT */
/* Stacks and switches; see fiber.h. */
#ifndef PS_NATIVE

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/mman.h>

#include "runtime/fiber.h"

#include <pagesim/alloc.h>
#include <pagesim/bug.h>

#if defined(__SANITIZE_ADDRESS__)
#define PS_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define PS_TSAN 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PS_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define PS_TSAN 1
#endif
#endif
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

static struct ps_stack *stack_new(size_t bytes)
{
	struct ps_stack *stack = ps_zalloc(sizeof(*stack));

	if (!stack)
		return NULL;
	stack->bytes = bytes;
	stack->base = mmap(NULL, bytes + PAGE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (stack->base == MAP_FAILED || mprotect(stack->base, PAGE_SIZE, PROT_NONE)) {
		if (stack->base != MAP_FAILED)
			munmap(stack->base, bytes + PAGE_SIZE);
		ps_free(stack);
		return NULL;
	}
#ifdef PS_VALGRIND
	stack->valgrind = VALGRIND_STACK_REGISTER(stack->base + PAGE_SIZE, stack->base + PAGE_SIZE + bytes);
#endif
#ifdef PS_TSAN
	stack->tsan = __tsan_create_fiber(0);
#endif
	return stack;
}

void ps_stack_pool_empty(struct ps_stack_pool *pool)
{
	struct ps_stack *stack;

	while ((stack = pool->free)) {
		pool->free = stack->next;
#ifdef PS_VALGRIND
		VALGRIND_STACK_DEREGISTER(stack->valgrind);
#endif
#ifdef PS_TSAN
		__tsan_destroy_fiber(stack->tsan);
#endif
		munmap(stack->base, stack->bytes + PAGE_SIZE);
		ps_free(stack);
	}
}

/* The first thing on a new stack: what ps_fiber_switch() does behind its jump, then the fiber's own code. */
static void fiber_begins(struct transfer from)
{
	struct ps_fiber **pair = (struct ps_fiber **)from.data;
	struct ps_fiber *left = pair[0], *self = pair[1];

	left->context = from.context;
#ifdef PS_ASAN
	__sanitizer_finish_switch_fiber(NULL, &left->asan_bottom, &left->asan_size);
#endif
	self->entry();
	BUG();
}

int ps_fiber_init(struct ps_fiber *f, struct ps_stack_pool *pool, void (*entry)(void))
{
	struct ps_stack *stack = pool->free;

	if (stack)
		pool->free = stack->next;
	else
		stack = stack_new(pool->bytes);
	if (!stack)
		return -ENOMEM;
	f->stack = stack;
	f->entry = entry;
	f->context = make_fcontext(stack->base + PAGE_SIZE + stack->bytes, stack->bytes, fiber_begins);
	f->asan_fake = NULL;
	f->asan_bottom = stack->base + PAGE_SIZE;
	f->asan_size = stack->bytes;
#ifdef PS_ASAN
	/* The fiber that had this stack before switched away for good: the red zones of its last frames are still there. */
	__asan_unpoison_memory_region(f->asan_bottom, f->asan_size);
#endif
	f->tsan = stack->tsan;
	return 0;
}

void ps_fiber_drop(struct ps_fiber *f, struct ps_stack_pool *pool)
{
	if (!f->stack)
		return;
	f->stack->next = pool->free;
	pool->free = f->stack;
	f->stack = NULL;
}

void ps_fiber_init_host(struct ps_fiber *f)
{
#ifdef PS_TSAN
	f->tsan = __tsan_get_current_fiber();
#endif
	(void)f;
}

void ps_fiber_switch(struct ps_fiber *from, struct ps_fiber *to, bool ends)
{
	struct ps_fiber *pair[2] = { from, to };
	struct transfer back;

#ifdef PS_ASAN
	__sanitizer_start_switch_fiber(ends ? NULL : &from->asan_fake, to->asan_bottom, to->asan_size);
#endif
#ifdef PS_TSAN
	__tsan_switch_to_fiber(to->tsan, 0);
#endif
	back = jump_fcontext(to->context, pair);
	/* Somebody came back: pair[0] of theirs is who. */
	from = ((struct ps_fiber **)back.data)[1];
	((struct ps_fiber **)back.data)[0]->context = back.context;
#ifdef PS_ASAN
	__sanitizer_finish_switch_fiber(from->asan_fake, &((struct ps_fiber **)back.data)[0]->asan_bottom,
					&((struct ps_fiber **)back.data)[0]->asan_size);
#endif
}

#else
typedef int ps_native_has_no_fibers;
#endif
