/* SPDX-License-Identifier: MIT */
/*
 * "Wait until that has happened": a count of events that have, and a queue of those who wait for one.
 *
 * Layer: runtime
 */
#ifndef PAGESIM_COMPLETION_H
#define PAGESIM_COMPLETION_H

#include <pagesim/wait.h>

#ifdef __cplusplus
extern "C" {
#endif

struct completion {
	unsigned int done; /* under wait.lock; UINT32_MAX: for ever */
	wait_queue_head_t wait;
};

void init_completion(struct completion *c);
/** Forgets past events; nobody may wait. Fidelity: exact. */
void reinit_completion(struct completion *c);
/** One event: lets one waiter go, now or later. Fidelity: exact. */
void complete(struct completion *c);
/** Lets every waiter go, now and later. Fidelity: exact. */
void complete_all(struct completion *c);
/** Takes one event; sleeps until there is one. Context: may sleep. Fidelity: exact. */
void ps_wait_for_completion_at(struct completion *c, const struct ps_site *at);
#define wait_for_completion(c) ps_wait_for_completion_at((c), PS_HERE)
/** Takes one event if there is one. Return: whether there was. Fidelity: exact. */
bool try_wait_for_completion(struct completion *c);

#ifdef __cplusplus
}
#endif

#endif
