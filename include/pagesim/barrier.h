/* SPDX-License-Identifier: MIT */
/*
 * Plain shared words: READ_ONCE and WRITE_ONCE, acquire and release, fences, cmpxchg and xchg on any scalar. On fibers
 * each is the plain operation behind a schedule point; natively each is the __atomic builtin of the order in its name
 * (READ_ONCE and WRITE_ONCE relaxed, the value-returning read-modify-writes sequentially consistent, as in Linux).
 *
 * Context of all: any task. Fidelity of all: exact natively, where an address dependency is an acquire; on fibers the memory
 * is sequentially consistent, so that a fence only marks a place.
 *
 * Layer: runtime
 */
#ifndef PAGESIM_BARRIER_H
#define PAGESIM_BARRIER_H

#include <pagesim/sanitizer.h>
#include <pagesim/sched_point.h>
#include <pagesim/types.h>

#ifdef PS_NATIVE

#define PS_LOAD(x, order)                           \
	__extension__({                             \
		ps_point(PS_POINT_READ, &(x));      \
		__typeof__(({ (x); })) ps_v_;       \
		__atomic_load(&(x), &ps_v_, order); \
		ps_v_;                              \
	})
#define PS_STORE(x, val, order)                       \
	do {                                          \
		__typeof__(({ (x); })) ps_v_ = (val); \
		ps_point(PS_POINT_WRITE, &(x));       \
		__atomic_store(&(x), &ps_v_, order);  \
	} while (0)

#ifdef PS_TSAN
/* ThreadSanitizer knows no fences; an atomic word that all of them change orders at least as much. */
extern int ps_fence_word;
#define ps_fence(order) ((void)__atomic_fetch_add(&ps_fence_word, 0, __ATOMIC_SEQ_CST))
#else
#define ps_fence(order) __atomic_thread_fence(order)
#endif
#define barrier() __atomic_signal_fence(__ATOMIC_SEQ_CST)
#define smp_mb()  (ps_point(PS_POINT_FENCE, NULL), ps_fence(__ATOMIC_SEQ_CST))
#define smp_rmb() (ps_point(PS_POINT_FENCE, NULL), ps_fence(__ATOMIC_ACQUIRE))
#define smp_wmb() (ps_point(PS_POINT_FENCE, NULL), ps_fence(__ATOMIC_RELEASE))

#define cmpxchg(ptr, expected, desired)                                                                             \
	__extension__({                                                                                             \
		__typeof__(*(ptr)) ps_old_ = (expected);                                                            \
		ps_point(PS_POINT_RMW, (ptr));                                                                      \
		__atomic_compare_exchange_n((ptr), &ps_old_, (desired), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
		ps_old_;                                                                                            \
	})
#define xchg(ptr, val)                                               \
	__extension__({                                              \
		ps_point(PS_POINT_RMW, (ptr));                       \
		__atomic_exchange_n((ptr), (val), __ATOMIC_SEQ_CST); \
	})

#else

#define PS_LOAD(x, order)                      \
	__extension__({                        \
		ps_point(PS_POINT_READ, &(x)); \
		(x);                           \
	})
#define PS_STORE(x, val, order)                 \
	do {                                    \
		__typeof__(x) ps_v_ = (val);    \
		ps_point(PS_POINT_WRITE, &(x)); \
		(x) = ps_v_;                    \
	} while (0)

#define barrier() __asm__ __volatile__("" ::: "memory")
#define smp_mb()  ps_point(PS_POINT_FENCE, NULL)
#define smp_rmb() ps_point(PS_POINT_FENCE, NULL)
#define smp_wmb() ps_point(PS_POINT_FENCE, NULL)

#define cmpxchg(ptr, expected, desired)                  \
	__extension__({                                  \
		__typeof__(ptr) ps_p_ = (ptr);           \
		__typeof__(*(ptr)) ps_exp_ = (expected); \
		__typeof__(*(ptr)) ps_des_ = (desired);  \
		ps_point(PS_POINT_RMW, ps_p_);           \
		__typeof__(*(ptr)) ps_old_ = *ps_p_;     \
		if (ps_old_ == ps_exp_)                  \
			*ps_p_ = ps_des_;                \
		ps_old_;                                 \
	})
#define xchg(ptr, val)                               \
	__extension__({                              \
		__typeof__(ptr) ps_p_ = (ptr);       \
		__typeof__(*(ptr)) ps_des_ = (val);  \
		ps_point(PS_POINT_RMW, ps_p_);       \
		__typeof__(*(ptr)) ps_old_ = *ps_p_; \
		*ps_p_ = ps_des_;                    \
		ps_old_;                             \
	})

#endif

#define READ_ONCE(x)       PS_LOAD(x, __ATOMIC_RELAXED)
#define WRITE_ONCE(x, val) PS_STORE(x, val, __ATOMIC_RELAXED)
/* These take pointers, as in Linux. */
#define smp_load_acquire(p)       PS_LOAD(*(p), __ATOMIC_ACQUIRE)
#define smp_store_release(p, val) PS_STORE(*(p), val, __ATOMIC_RELEASE)
#define smp_store_mb(x, val)      PS_STORE(x, val, __ATOMIC_SEQ_CST)

/** cmpxchg that says whether it stored; *expected becomes what was found otherwise. */
#define try_cmpxchg(ptr, expected, desired)                                              \
	__extension__({                                                                  \
		__typeof__(*(ptr)) ps_try_exp_ = *(expected);                            \
		__typeof__(*(ptr)) ps_try_old_ = cmpxchg((ptr), ps_try_exp_, (desired)); \
		bool ps_try_ok_ = ps_try_old_ == ps_try_exp_;                            \
		if (!ps_try_ok_)                                                         \
			*(expected) = ps_try_old_;                                       \
		ps_try_ok_;                                                              \
	})

#define smp_mb__before_atomic() smp_mb()
#define smp_mb__after_atomic()  smp_mb()

#endif
