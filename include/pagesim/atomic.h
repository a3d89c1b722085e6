/* SPDX-License-Identifier: MIT */
/*
 * atomic_t (int), atomic_long_t (long) and atomic64_t (s64) by the kernel's names; one macro writes all three. Each
 * operation is one schedule point on the counter.
 *
 * Orders, natively, as Linux documents them: operations without a result relaxed; operations with a result sequentially
 * consistent, conditional ones only when they store; _relaxed, _acquire and _release as named.
 *
 * Context of all: any task. Fidelity of all: exact in values, results and (natively) orders; on fibers the memory is
 * sequentially consistent.
 *
 * Layer: runtime
 */
#ifndef PAGESIM_ATOMIC_H
#define PAGESIM_ATOMIC_H

#include <pagesim/barrier.h>
#include <pagesim/sched_point.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	long counter;
} atomic_long_t;

typedef struct {
	s64 counter;
} atomic64_t;

#define ATOMIC_INIT(i) \
	{              \
		(i)    \
	}
#define ATOMIC_LONG_INIT(i) ATOMIC_INIT(i)
#define ATOMIC64_INIT(i)    ATOMIC_INIT(i)

/* The four primitives under all of them. The compare-exchange leaves what it found in *old. */
#ifdef PS_NATIVE
#define PS_ATOMIC_LOAD(p, order)        __atomic_load_n((p), (order))
#define PS_ATOMIC_STORE(p, i, order)    __atomic_store_n((p), (i), (order))
#define PS_ATOMIC_ADD(p, i, order)      __atomic_fetch_add((p), (i), (order))
#define PS_ATOMIC_OR(p, i, order)       __atomic_fetch_or((p), (i), (order))
#define PS_ATOMIC_AND(p, i, order)      __atomic_fetch_and((p), (i), (order))
#define PS_ATOMIC_SWAP(p, i, order)     __atomic_exchange_n((p), (i), (order))
#define PS_ATOMIC_CAS(p, old, i, order) __atomic_compare_exchange_n((p), (old), (i), false, (order), __ATOMIC_RELAXED)
#else
#define PS_ATOMIC_LOAD(p, order)     (*(p))
#define PS_ATOMIC_STORE(p, i, order) ((void)(*(p) = (i)))
#define PS_ATOMIC_ADD(p, i, order)               \
	__extension__({                          \
		__typeof__(*(p)) ps_was_ = *(p); \
		*(p) = ps_was_ + (i);            \
		ps_was_;                         \
	})
#define PS_ATOMIC_OR(p, i, order)                \
	__extension__({                          \
		__typeof__(*(p)) ps_was_ = *(p); \
		*(p) = ps_was_ | (i);            \
		ps_was_;                         \
	})
#define PS_ATOMIC_AND(p, i, order)               \
	__extension__({                          \
		__typeof__(*(p)) ps_was_ = *(p); \
		*(p) = ps_was_ & (i);            \
		ps_was_;                         \
	})
#define PS_ATOMIC_SWAP(p, i, order)              \
	__extension__({                          \
		__typeof__(*(p)) ps_was_ = *(p); \
		*(p) = (i);                      \
		ps_was_;                         \
	})
#define PS_ATOMIC_CAS(p, old, i, order) (*(p) == *(old) ? (*(p) = (i), true) : (*(old) = *(p), false))
#endif

/* One operation in the order its name carries. */
#define PS_ATOMIC_ORDERED(name, atomic, type, suffix, order)                        \
	static inline type name##_fetch_add##suffix(type i, atomic *v)              \
	{                                                                           \
		ps_point(PS_POINT_RMW, v);                                          \
		return PS_ATOMIC_ADD(&v->counter, i, order);                        \
	}                                                                           \
	static inline type name##_fetch_sub##suffix(type i, atomic *v)              \
	{                                                                           \
		return name##_fetch_add##suffix(-i, v);                             \
	}                                                                           \
	static inline type name##_add_return##suffix(type i, atomic *v)             \
	{                                                                           \
		return name##_fetch_add##suffix(i, v) + i;                          \
	}                                                                           \
	static inline type name##_sub_return##suffix(type i, atomic *v)             \
	{                                                                           \
		return name##_fetch_add##suffix(-i, v) - i;                         \
	}                                                                           \
	static inline type name##_inc_return##suffix(atomic *v)                     \
	{                                                                           \
		return name##_add_return##suffix(1, v);                             \
	}                                                                           \
	static inline type name##_dec_return##suffix(atomic *v)                     \
	{                                                                           \
		return name##_sub_return##suffix(1, v);                             \
	}                                                                           \
	static inline type name##_fetch_inc##suffix(atomic *v)                      \
	{                                                                           \
		return name##_fetch_add##suffix(1, v);                              \
	}                                                                           \
	static inline type name##_fetch_dec##suffix(atomic *v)                      \
	{                                                                           \
		return name##_fetch_add##suffix(-1, v);                             \
	}                                                                           \
	static inline type name##_fetch_or##suffix(type i, atomic *v)               \
	{                                                                           \
		ps_point(PS_POINT_RMW, v);                                          \
		return PS_ATOMIC_OR(&v->counter, i, order);                         \
	}                                                                           \
	static inline type name##_fetch_and##suffix(type i, atomic *v)              \
	{                                                                           \
		ps_point(PS_POINT_RMW, v);                                          \
		return PS_ATOMIC_AND(&v->counter, i, order);                        \
	}                                                                           \
	static inline type name##_xchg##suffix(atomic *v, type i)                   \
	{                                                                           \
		ps_point(PS_POINT_RMW, v);                                          \
		return PS_ATOMIC_SWAP(&v->counter, i, order);                       \
	}                                                                           \
	static inline type name##_cmpxchg##suffix(atomic *v, type old, type i)      \
	{                                                                           \
		ps_point(PS_POINT_RMW, v);                                          \
		(void)PS_ATOMIC_CAS(&v->counter, &old, i, order);                   \
		return old;                                                         \
	}                                                                           \
	static inline bool name##_try_cmpxchg##suffix(atomic *v, type *old, type i) \
	{                                                                           \
		ps_point(PS_POINT_RMW, v);                                          \
		return PS_ATOMIC_CAS(&v->counter, old, i, order);                   \
	}

#define PS_ATOMIC_TYPE(name, atomic, type)                                                      \
	PS_ATOMIC_ORDERED(name, atomic, type, , __ATOMIC_SEQ_CST)                               \
	PS_ATOMIC_ORDERED(name, atomic, type, _relaxed, __ATOMIC_RELAXED)                       \
	PS_ATOMIC_ORDERED(name, atomic, type, _acquire, __ATOMIC_ACQUIRE)                       \
	PS_ATOMIC_ORDERED(name, atomic, type, _release, __ATOMIC_RELEASE)                       \
	static inline type name##_read(const atomic *v)                                         \
	{                                                                                       \
		ps_point(PS_POINT_READ, v);                                                     \
		return PS_ATOMIC_LOAD(&v->counter, __ATOMIC_RELAXED);                           \
	}                                                                                       \
	static inline type name##_read_acquire(const atomic *v)                                 \
	{                                                                                       \
		ps_point(PS_POINT_READ, v);                                                     \
		return PS_ATOMIC_LOAD(&v->counter, __ATOMIC_ACQUIRE);                           \
	}                                                                                       \
	static inline void name##_set(atomic *v, type i)                                        \
	{                                                                                       \
		ps_point(PS_POINT_WRITE, v);                                                    \
		PS_ATOMIC_STORE(&v->counter, i, __ATOMIC_RELAXED);                              \
	}                                                                                       \
	static inline void name##_set_release(atomic *v, type i)                                \
	{                                                                                       \
		ps_point(PS_POINT_WRITE, v);                                                    \
		PS_ATOMIC_STORE(&v->counter, i, __ATOMIC_RELEASE);                              \
	}                                                                                       \
	static inline void name##_add(type i, atomic *v)                                        \
	{                                                                                       \
		(void)name##_fetch_add_relaxed(i, v);                                           \
	}                                                                                       \
	static inline void name##_sub(type i, atomic *v)                                        \
	{                                                                                       \
		(void)name##_fetch_add_relaxed(-i, v);                                          \
	}                                                                                       \
	static inline void name##_inc(atomic *v)                                                \
	{                                                                                       \
		(void)name##_fetch_add_relaxed(1, v);                                           \
	}                                                                                       \
	static inline void name##_dec(atomic *v)                                                \
	{                                                                                       \
		(void)name##_fetch_add_relaxed(-1, v);                                          \
	}                                                                                       \
	static inline void name##_or(type i, atomic *v)                                         \
	{                                                                                       \
		(void)name##_fetch_or_relaxed(i, v);                                            \
	}                                                                                       \
	static inline void name##_and(type i, atomic *v)                                        \
	{                                                                                       \
		(void)name##_fetch_and_relaxed(i, v);                                           \
	}                                                                                       \
	static inline void name##_andnot(type i, atomic *v)                                     \
	{                                                                                       \
		(void)name##_fetch_and_relaxed(~i, v);                                          \
	}                                                                                       \
	static inline bool name##_sub_and_test(type i, atomic *v)                               \
	{                                                                                       \
		return name##_sub_return(i, v) == 0;                                            \
	}                                                                                       \
	static inline bool name##_dec_and_test(atomic *v)                                       \
	{                                                                                       \
		return name##_sub_return(1, v) == 0;                                            \
	}                                                                                       \
	static inline bool name##_inc_and_test(atomic *v)                                       \
	{                                                                                       \
		return name##_add_return(1, v) == 0;                                            \
	}                                                                                       \
	static inline bool name##_add_negative(type i, atomic *v)                               \
	{                                                                                       \
		return name##_add_return(i, v) < 0;                                             \
	}                                                                                       \
	/* Adds unless the counter is `unless`. Return: what it was. */                         \
	static inline type name##_fetch_add_unless(atomic *v, type i, type unless)              \
	{                                                                                       \
		type c;                                                                         \
                                                                                                \
		ps_point(PS_POINT_RMW, v);                                                      \
		c = PS_ATOMIC_LOAD(&v->counter, __ATOMIC_RELAXED);                              \
		while (c != unless && !PS_ATOMIC_CAS(&v->counter, &c, c + i, __ATOMIC_SEQ_CST)) \
			;                                                                       \
		return c;                                                                       \
	}                                                                                       \
	static inline bool name##_add_unless(atomic *v, type i, type unless)                    \
	{                                                                                       \
		return name##_fetch_add_unless(v, i, unless) != unless;                         \
	}                                                                                       \
	static inline bool name##_inc_not_zero(atomic *v)                                       \
	{                                                                                       \
		return name##_add_unless(v, 1, 0);                                              \
	}                                                                                       \
	/* Decrements unless that gave less than 0. Return: the old value minus 1. */           \
	static inline type name##_dec_if_positive(atomic *v)                                    \
	{                                                                                       \
		type c;                                                                         \
                                                                                                \
		ps_point(PS_POINT_RMW, v);                                                      \
		c = PS_ATOMIC_LOAD(&v->counter, __ATOMIC_RELAXED);                              \
		while (c > 0 && !PS_ATOMIC_CAS(&v->counter, &c, c - 1, __ATOMIC_SEQ_CST))       \
			;                                                                       \
		return c - 1;                                                                   \
	}

PS_ATOMIC_TYPE(atomic, atomic_t, int)
PS_ATOMIC_TYPE(atomic_long, atomic_long_t, long)
PS_ATOMIC_TYPE(atomic64, atomic64_t, s64)

#ifdef __cplusplus
}
#endif

#endif
