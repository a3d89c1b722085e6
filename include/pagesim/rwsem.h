/* SPDX-License-Identifier: MIT */
/*
 * struct rw_semaphore: many readers or one writer, both may sleep. First come, first served: a reader that comes after a
 * waiting writer waits behind it, and neighbouring readers in the queue enter together. downgrade_write() turns the
 * writer into a reader and lets the readers at the head of the queue in.
 *
 * Layer: runtime
 */
#ifndef PAGESIM_RWSEM_H
#define PAGESIM_RWSEM_H

#include <pagesim/lock.h>
#include <pagesim/sched_point.h>
#ifdef PS_NATIVE
#include <pthread.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct ps_waiter;

struct rw_semaphore {
#ifdef PS_NATIVE
	long count;           /* writer bit, waiters bit, readers; see rwsem.c */
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t turn;
	u64 next_ticket, now_serving;
#else
	struct task_struct *writer; /* the owner for writing, or NULL */
	const struct ps_site *at;   /* of the last acquisition */
	struct ps_waiter *waiters;
	u32 readers;
	ps_ns_t since;           /* the writer's acquisition; with readers: the earliest of the current group's */
	ps_ns_t until;           /* the latest release of the current group of readers */
	struct ps_holds written; /* past holds by writers: keep everybody waiting */
	struct ps_holds read;    /* past holds by groups of readers: keep writers waiting */
#endif
	unsigned char lclass;
};

/** Makes a free semaphore of class lc. */
void init_rwsem(struct rw_semaphore *sem, enum lock_class lc);
void ps_down_read_at(struct rw_semaphore *sem, unsigned int flags, const struct ps_site *at);
bool ps_down_read_trylock_at(struct rw_semaphore *sem, const struct ps_site *at);
void ps_up_read_at(struct rw_semaphore *sem, const struct ps_site *at);
void ps_down_write_at(struct rw_semaphore *sem, unsigned int flags, const struct ps_site *at);
bool ps_down_write_trylock_at(struct rw_semaphore *sem, const struct ps_site *at);
void ps_up_write_at(struct rw_semaphore *sem, const struct ps_site *at);
void ps_downgrade_write_at(struct rw_semaphore *sem, const struct ps_site *at);
/** Is it held, by readers or a writer? Fidelity: exact. */
bool rwsem_is_locked(const struct rw_semaphore *sem);
/** Is it held by a writer? */
bool ps_rwsem_is_write_locked(const struct rw_semaphore *sem);
/** Does somebody wait for it? Fidelity: exact. */
bool rwsem_is_contended(const struct rw_semaphore *sem);

/**
 * down_*, up_*, downgrade_write - one schedule point each, before it happens.
 * Context: any task, may sleep (not trylock). Return (trylock): whether it was taken.
 * Fidelity: exact in who may hold it together; simplified: first come, first served, where 6.1 lets newcomers spin for it and
 * steal it within limits, and wakes at most 256 readers at a time.
 */
#define down_read(sem)                   ps_down_read_at((sem), 0, PS_HERE)
#define down_read_nested(sem, subclass)  ((void)(subclass), ps_down_read_at((sem), PS_ACQ_NESTED, PS_HERE))
#define down_read_trylock(sem)           ps_down_read_trylock_at((sem), PS_HERE)
#define up_read(sem)                     ps_up_read_at((sem), PS_HERE)
#define down_write(sem)                  ps_down_write_at((sem), 0, PS_HERE)
#define down_write_nested(sem, subclass) ((void)(subclass), ps_down_write_at((sem), PS_ACQ_NESTED, PS_HERE))
#define down_write_trylock(sem)          ps_down_write_trylock_at((sem), PS_HERE)
#define up_write(sem)                    ps_up_write_at((sem), PS_HERE)
#define downgrade_write(sem)             ps_downgrade_write_at((sem), PS_HERE)

#ifdef __cplusplus
}
#endif

#endif
