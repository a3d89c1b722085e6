/* SPDX-License-Identifier: MIT */
/*
 * What the model does when it finds itself in an impossible state: it says where and what, and never goes on. BUG_ON
 * and the VM_BUG_ON family never return; WARN_ON reports and goes on. Every report reaches one handler, which belongs to
 * the calling thread and may leave by longjmp: that is how a test proves that a planted fault is seen. Without a handler
 * a BUG is a failed assertion of the C library and a WARN is silent.
 *
 * WARN_ON_ONCE carries no hidden state: it reports every time, marked PS_WARN_ONCE, and a handler that wants to speak
 * once per place compares file and line.
 *
 * Layer: base
 */
#ifndef PAGESIM_BUG_H
#define PAGESIM_BUG_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ps_bug_kind {
	PS_BUG,
	PS_WARN,
	PS_WARN_ONCE,
};

/** One report. The strings are literals of the program, except detail, which lives as long as the call. */
struct ps_bug {
	enum ps_bug_kind kind;
	const char *expr;   /* the condition that held, as written */
	const char *detail; /* what is known beyond the expression, or NULL */
	const char *file;
	int line;
	const void *object; /* the page, mm or VMA of VM_BUG_ON_PAGE and friends, or NULL */
};

/**
 * Takes a report.
 *
 * Context: any, with any locks held; may leave by longjmp or by ending the fiber (ps_task_abandon()).
 * Return: for PS_BUG a return means "abort".
 */
typedef void (*ps_bug_fn)(void *arg, const struct ps_bug *bug);

struct ps_bug_handler {
	ps_bug_fn fn; /* NULL = the default */
	void *arg;
};

/** Installs the calling thread's handler. Return: the one it replaces. */
struct ps_bug_handler ps_bug_set_handler(struct ps_bug_handler handler);
/** Return: the calling thread's handler. */
struct ps_bug_handler ps_bug_get_handler(void);

/** Reports a BUG; the macros below are its callers. Return: never. */
__attribute__((noreturn, cold)) void ps_bug_at(const char *expr, const char *detail, const char *file, int line,
					       const void *object);
/** Reports a warning; the macros below are its callers. */
__attribute__((cold)) void ps_warn_at(enum ps_bug_kind kind, const char *expr, const char *file, int line,
				      const void *object);

#define BUG() ps_bug_at("BUG", NULL, __FILE__, __LINE__, NULL)
#define PS_BUG_ON_OBJECT(cond, object)                                        \
	do {                                                                  \
		if (unlikely(cond))                                           \
			ps_bug_at(#cond, NULL, __FILE__, __LINE__, (object)); \
	} while (0)
#define PS_WARN_ON_OBJECT(kind, cond, object)                                    \
	__extension__({                                                          \
		bool ps_warn_ = !!(cond);                                        \
		if (unlikely(ps_warn_))                                          \
			ps_warn_at((kind), #cond, __FILE__, __LINE__, (object)); \
		unlikely(ps_warn_);                                              \
	})

#define BUG_ON(cond)             PS_BUG_ON_OBJECT(cond, NULL)
#define VM_BUG_ON(cond)          PS_BUG_ON_OBJECT(cond, NULL)
#define VM_BUG_ON_PAGE(cond, pg) PS_BUG_ON_OBJECT(cond, pg)
#define VM_BUG_ON_VMA(cond, vma) PS_BUG_ON_OBJECT(cond, vma)
#define VM_BUG_ON_MM(cond, mm)   PS_BUG_ON_OBJECT(cond, mm)

#define WARN_ON(cond)                  PS_WARN_ON_OBJECT(PS_WARN, cond, NULL)
#define WARN_ON_ONCE(cond)             PS_WARN_ON_OBJECT(PS_WARN_ONCE, cond, NULL)
#define VM_WARN_ON(cond)               ((void)PS_WARN_ON_OBJECT(PS_WARN, cond, NULL))
#define VM_WARN_ON_ONCE(cond)          ((void)PS_WARN_ON_OBJECT(PS_WARN_ONCE, cond, NULL))
#define VM_WARN_ON_ONCE_PAGE(cond, pg) PS_WARN_ON_OBJECT(PS_WARN_ONCE, cond, pg)

#ifdef __cplusplus
}
#endif

#endif
