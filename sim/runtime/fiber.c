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

/* ------------------------------------------------------------------ the switch itself */

/*
 * void *ps_stack_switch(void **save, void *to, void *message)
 *
 * Stops the caller, storing in *save where it can be resumed, and resumes `to`, whose own call returns `message`. Only
 * what a called function must preserve is kept; the floating-point control words are the same for all stacks.
 */
#if defined(__x86_64__) && !defined(PS_BOOST_CONTEXT)

/*
 *     a stopped stack, from `to` upwards:  r15 r14 r13 r12 rbx rbp  return address
 *
 * It ends in a plain return: almost every switch comes by the same chain of calls from the scheduler, so the processor's
 * return predictor, though it remembers the other stack's calls, is right all the way up. A jump leaves the predictor one
 * call behind, and each return of the chain is mispredicted (measured: a switch through the scheduler costs 2.5 times as
 * much, by boost.context too).
 */
void *ps_stack_switch(void **save, void *to, void *message) __attribute__((visibility("hidden")));
void ps_stack_begin(void) __attribute__((visibility("hidden")));

__asm__(".text\n"
	".p2align 4\n"
	".hidden ps_stack_switch\n"
	".globl ps_stack_switch\n"
	".type ps_stack_switch, @function\n"
	"ps_stack_switch:\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	mov %rdx, %rax\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size ps_stack_switch, . - ps_stack_switch\n"
	/* The bottom frame of a stack: calls fiber_begins(message), which never returns. */
	".p2align 4\n"
	".hidden ps_stack_begin\n"
	".globl ps_stack_begin\n"
	".type ps_stack_begin, @function\n"
	"ps_stack_begin:\n"
	"	.cfi_startproc\n"
	"	.cfi_undefined rip\n"
	"	mov %rax, %rdi\n"
	"	call ps_fiber_begins\n"
	"	ud2\n"
	"	.cfi_endproc\n"
	".size ps_stack_begin, . - ps_stack_begin\n");

__attribute__((used, visibility("hidden"))) void ps_fiber_begins(void *message);

/* A stack that begins with ps_fiber_begins(message). top is aligned to 16. */
static void *stack_prepare(char *top, size_t bytes)
{
	void **sp = (void **)top;

	*--sp = (void *)ps_stack_begin;
	for (int reg = 0; reg < 6; reg++)
		*--sp = NULL;
	return sp;
}

#else

/* boost.context's C entry points (libboost_context); its headers are C++. */
struct transfer {
	void *context; /* of the side that jumped here */
	void *data;
};
extern struct transfer jump_fcontext(void *to, void *data);
extern void *make_fcontext(void *top, size_t bytes, void (*entry)(struct transfer));

static void ps_fiber_begins(void *message);

struct passage {
	void **save;
	void *message;
};

static void *ps_stack_switch(void **save, void *to, void *message)
{
	struct passage mine = { save, message };
	struct transfer from = jump_fcontext(to, &mine);
	struct passage *theirs = (struct passage *)from.data;

	*theirs->save = from.context;
	return theirs->message;
}

static void context_begins(struct transfer from)
{
	struct passage *theirs = (struct passage *)from.data;

	*theirs->save = from.context;
	ps_fiber_begins(theirs->message);
}

static void *stack_prepare(char *top, size_t bytes)
{
	return make_fcontext(top, bytes, context_begins);
}

#endif

/* ------------------------------------------------------------------ fibers */

static void tsan_begin(struct ps_fiber *f)
{
#ifdef PS_TSAN
	if (f->tsan)
		__tsan_destroy_fiber(f->tsan);
	f->tsan = __tsan_create_fiber(0);
#endif
}

/* Who stops and who goes on: the message of every switch. */
struct pair {
	struct ps_fiber *left, *self;
};

/* What both sides of a switch do when they have arrived. */
static void arrived(const struct pair *pair)
{
#ifdef PS_ASAN
	/* Also learns the bounds of the host's stack, the first time it is left. */
	__sanitizer_finish_switch_fiber(pair->self->asan_fake, &pair->left->asan_bottom, &pair->left->asan_size);
#endif
}

/* The bottom of every stack of ours. */
void ps_fiber_begins(void *message)
{
	struct ps_fiber *self = ((const struct pair *)message)->self;

	arrived((const struct pair *)message);
	for (;;)
		self->entry();
}

static void begin_anew(struct ps_fiber *f)
{
	f->context = stack_prepare(f->stack + f->stack_bytes, f->stack_bytes);
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
	struct pair pair = { from, to };

#ifdef PS_ASAN
	/* Without a place for the fake stack it is freed: nobody comes back to a spoilt fiber. */
	__sanitizer_start_switch_fiber(from->spoilt ? NULL : &from->asan_fake, to->asan_bottom, to->asan_size);
#endif
#ifdef PS_TSAN
	__tsan_switch_to_fiber(to->tsan, 0);
#endif
	arrived((const struct pair *)ps_stack_switch(&from->context, to->context, &pair));
}

#else
typedef int ps_native_has_no_fibers;
#endif
