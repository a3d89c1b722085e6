/* SPDX-License-Identifier: MIT */
/*
 * A fiber is a stack and the place where its execution stopped. Switching is boost.context's job (two C entry points);
 * ours is to tell AddressSanitizer, ThreadSanitizer and valgrind, who otherwise take a new stack for a smashed one, and
 * to keep used stacks for the next fiber. The host's own stack takes part as a fiber without a stack of ours.
 */
#ifndef PS_RUNTIME_FIBER_H
#define PS_RUNTIME_FIBER_H

#include <pagesim/types.h>

/* A stack of ours: [guard page | usable bytes). */
struct ps_stack {
	struct ps_stack *next; /* in the pool */
	char *base;            /* of the mapping, the guard page included */
	size_t bytes;          /* usable */
	void *tsan;            /* ThreadSanitizer's fiber: expensive to make, so it stays with the stack */
	unsigned int valgrind;
};

/* Stacks that no fiber uses. */
struct ps_stack_pool {
	struct ps_stack *free;
	size_t bytes; /* of each stack */
};

struct ps_fiber {
	void *context;          /* where it stopped; meaningless while it runs */
	struct ps_stack *stack; /* NULL: the host's own */
	void (*entry)(void);
	void *asan_fake; /* AddressSanitizer's fake stack while it does not run */
	const void *asan_bottom;
	size_t asan_size;
	void *tsan;
};

/* Gives the fiber a stack and lets it begin in entry(), which must not return. Return: 0 or -ENOMEM. */
int ps_fiber_init(struct ps_fiber *f, struct ps_stack_pool *pool, void (*entry)(void));
/* Puts the fiber's stack back into the pool. The fiber does not run, or is about to leave for ever. */
void ps_fiber_drop(struct ps_fiber *f, struct ps_stack_pool *pool);
/* Makes f stand for the stack this is called on. */
void ps_fiber_init_host(struct ps_fiber *f);
/* Stops `from`, which runs, and goes on in `to`; returns when somebody switches back. ends: nobody ever will. */
void ps_fiber_switch(struct ps_fiber *from, struct ps_fiber *to, bool ends);
/* Unmaps all stacks of the pool. */
void ps_stack_pool_empty(struct ps_stack_pool *pool);

#endif
