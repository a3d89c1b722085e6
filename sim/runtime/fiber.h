/* SPDX-License-Identifier: MIT */
/*
 * A fiber is a stack and the place where its execution stopped. The switch is our own on x86-64 (fiber.c says why)
 * and boost.context's elsewhere. AddressSanitizer, ThreadSanitizer and valgrind are told of every
 * stack and switch; they would take a new stack for a smashed one. The host's own stack takes part as a fiber whose stack
 * is not ours.
 *
 * A fiber whose task has ended is kept, stopped at the bottom of its stack, and goes on there with the next task: its
 * entry function is called once per task. So every call on the stack returns, which ThreadSanitizer counts on, and a
 * new task costs no system call.
 */
#ifndef PS_RUNTIME_FIBER_H
#define PS_RUNTIME_FIBER_H

#include <pagesim/types.h>

struct ps_fiber {
	struct ps_fiber *next; /* in the pool */
	void *context;         /* where it stopped; meaningless while it runs */
	void (*entry)(void);
	char *stack; /* usable bytes, a guard page below; NULL: the host's */
	size_t stack_bytes;
	bool spoilt;     /* left with calls on its stack: begins anew */
	void *asan_fake; /* AddressSanitizer's fake stack while it does not run */
	const void *asan_bottom;
	size_t asan_size;
	void *tsan;
	unsigned int valgrind;
};

/* Fibers without a task. */
struct ps_fiber_pool {
	struct ps_fiber *free;
	size_t stack_bytes;
};

/* A fiber that calls entry() when it is switched to. Return: the fiber, given back with ps_fiber_put(), or NULL. */
struct ps_fiber *ps_fiber_get(struct ps_fiber_pool *pool, void (*entry)(void));
/*
 * Gives a fiber back: one that never ran, or that is about to leave from within entry() for the last time. The next
 * ps_fiber_get() may return it, and then the switch by which it left returns. NULL is allowed.
 */
void ps_fiber_put(struct ps_fiber_pool *pool, struct ps_fiber *f);
/* Makes f stand for the stack this is called on. */
void ps_fiber_init_host(struct ps_fiber *f);
/* Stops `from`, which runs, and goes on in `to`; returns when somebody switches back. */
void ps_fiber_switch(struct ps_fiber *from, struct ps_fiber *to);
/* Unmaps all fibers of the pool. */
void ps_fiber_pool_empty(struct ps_fiber_pool *pool);

#endif
