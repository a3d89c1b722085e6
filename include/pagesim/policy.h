/* SPDX-License-Identifier: MIT */
/*
 * Tiering policies: who decides which page moves where, and when. A policy is one file with a struct ps_policy_ops and one
 * line in the list of policies (sim/policy/policy.c). It acts by installing hooks on the machine (struct numa_hooks) and in
 * its tick, which whoever drives the tasks calls in the context of a task:
 *
 *      struct ps_policy_settings settings;
 *      struct ps_policy *policy;
 *
 *      ps_policy_parse("numa-balancing,mode=2,hot_threshold=500", &settings, &error);
 *      ps_policy_attach(world, &settings, &policy);
 *      ...
 *      if (current->now >= next_tick)              one number per task; 0 at its start
 *              next_tick = ps_policy_tick(policy);
 *      ...
 *      ps_policy_task_exit(policy, task);
 *      ...
 *      ps_policy_detach(policy);
 *
 * A policy that never wants to be called answers PS_POLICY_NEVER, so the compare costs the same for all.
 *
 * Layer: policy
 */
#ifndef PAGESIM_POLICY_H
#define PAGESIM_POLICY_H

#include <glib.h>

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct page;
struct ps_machine;
struct ps_policy;
struct ps_world;
struct task_struct;

/** No further tick wanted. */
#define PS_POLICY_NEVER      UINT64_MAX
#define PS_POLICY_PARAMS_MAX 16

/** A number a policy can be given, as "name=value". */
struct ps_policy_param {
	const char *name; /* NULL ends a table */
	const char *what; /* one line for people, with the unit */
	u64 def;          /* what it is unless given; see also what */
	u64 min, max;
};

/** A policy. Constant tables. */
struct ps_policy_ops {
	const char *name;
	const char *what;                     /* one line for people */
	const struct ps_policy_param *params; /* NULL: none */
	/** Do these values (all of them) go together? NULL: always. Return: NULL, or why not, one clause. */
	const char *(*check)(const u64 *value);
	/**
	 * Takes its place on policy->machine: hooks, flags, own state in policy->private_data. NULL: nothing to do.
	 * Context: a current task of the machine. Return: 0; -ENOMEM, -EINVAL with nothing changed.
	 */
	int (*init)(struct ps_policy *policy);
	/** Undoes init. Context: as init. */
	void (*destroy)(struct ps_policy *policy);
	/**
	 * Its turn in the current task. Context: no locks held, may sleep. Return: when, on this task's clock (ns), it wants
	 * the next; at least 1 ns from now. NULL: never.
	 */
	ps_ns_t (*tick)(struct ps_policy *policy);
	/** The task is about to end. NULL: nothing to do. Context: as init; the task has not been freed. */
	void (*task_exit)(struct ps_policy *policy, const struct task_struct *task);
	/** Number i that the policy would like reported. Return: its name with *ret_value, or NULL after the last. */
	const char *(*stat)(const struct ps_policy *policy, unsigned int i, u64 *ret_value);
};

/** Which policy, with which numbers. All zero: `none`. */
struct ps_policy_settings {
	const struct ps_policy_ops *ops; /* NULL: none */
	u64 value[PS_POLICY_PARAMS_MAX]; /* in the order of ops->params; counts only if set */
	u32 set;                         /* bit i: value[i] was given */
};

/** A policy at work; in machine->policy. */
struct ps_policy {
	const struct ps_policy_ops *ops;
	struct ps_world *world;
	struct ps_machine *machine;
	u64 value[PS_POLICY_PARAMS_MAX]; /* all of them, defaults filled in */
	u32 set;                         /* bit i: it was given */
	void *private_data;              /* the policy's */
};

/** Return: the policy of that name, or NULL. */
const struct ps_policy_ops *ps_policy_find(const char *name);
/** Visits the policies in order. Return: NULL after the last. */
const struct ps_policy_ops *ps_policy_at(unsigned int i);

/** Domain of the errors of ps_policy_parse(); messages say what was found and what exists. */
#define PS_POLICY_ERROR (ps_policy_error_quark())
GQuark ps_policy_error_quark(void);

enum ps_policy_error {
	PS_POLICY_ERROR_UNKNOWN, /* no such policy */
	PS_POLICY_ERROR_PARAM,   /* no such parameter, or not name=value, or given twice */
	PS_POLICY_ERROR_VALUE,   /* not a number, or out of its range */
};

/**
 * Reads "NAME[,PARAM=NUMBER]...".
 * Return: TRUE with *ret_settings; FALSE with @error set and *ret_settings untouched.
 */
gboolean ps_policy_parse(const char *text, struct ps_policy_settings *ret_settings, GError **error);

/**
 * Puts a policy to work on a world, which must have none.
 * @settings: NULL: `none`. Context: the host, in no task, or a task of that world.
 * Return: 0 and the policy, ended by ps_policy_detach(); -EBUSY (there is one), -ENOMEM, -EINVAL.
 */
int ps_policy_attach(struct ps_world *world, const struct ps_policy_settings *settings, struct ps_policy **ret_policy);
/** Ends it: hooks and flags go back to nothing, memory to the host. Context: as attach; before ps_world_free(). NULL is fine. */
void ps_policy_detach(struct ps_policy *policy);

/** The policy's turn in the current task. Return: the time (on the task's clock) of the next. */
static inline ps_ns_t ps_policy_tick(struct ps_policy *policy)
{
	return policy && policy->ops->tick ? policy->ops->tick(policy) : PS_POLICY_NEVER;
}

/** A task ends: to be called before it is freed. Context: as attach. */
void ps_policy_task_exit(struct ps_policy *policy, const struct task_struct *task);

/** Number i for the report. Return: its name with *ret_value, or NULL after the last. */
const char *ps_policy_stat(const struct ps_policy *policy, unsigned int i, u64 *ret_value);

/** The value of a parameter by name, default filled in; for tables and tests. Return: false: no such parameter. */
bool ps_policy_value(const struct ps_policy *policy, const char *name, u64 *ret_value);

#ifdef __cplusplus
}
#endif
#endif
