/* SPDX-License-Identifier: MIT */
/*
 * `kernel set NAME VALUE`: what a privileged user writes into a file below /proc/sys or /sys. Each setting takes the words the
 * kernel's file takes and refuses the others with the same -EINVAL; a name that does not exist ends the script. One line in
 * the list at the end and one function is a new setting.
 *
 * NUMA balancing is a policy, and the script drives it: switched on, it gets its turn after each touched page and each
 * statement of a task, as Linux's does when a task returns to user mode. Time is virtual, and a statement takes little of it:
 * scripts that want hint faults set numa_balancing_scan_delay_ms 0 and a short scan period.
 */
#include "replay/script_run.h"

#include <string.h>

#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/policy.h>
#include <pagesim/reclaim.h>

#define NUMA_MODE_MAX 4u /* Linux takes 4, which means no mode it has */

/* ---- values */

/* One of some words. Return: its index, or -EINVAL. */
static int choose(const char *value, const char *const *words, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (!strcmp(words[i], value))
			return (int)i;
	return -EINVAL;
}

/* A number, with @base 0 also 0x and octal as the sysctl files take it. */
static bool number(const char *value, unsigned int base, u64 max, u64 *ret)
{
	char *end;
	guint64 n;

	if (!g_ascii_isdigit(*value))
		return false;
	errno = 0;
	n = g_ascii_strtoull(value, &end, base);
	if (errno || *end || n > max)
		return false;
	*ret = n;
	return true;
}

/* What the kernel takes for a truth: the beginning of a word. (kstrtobool) */
static int truth(const char *value)
{
	char first = g_ascii_tolower(value[0]), second = first ? g_ascii_tolower(value[1]) : '\0';

	if (first == 'y' || first == 't' || first == '1' || (first == 'o' && second == 'n'))
		return 1;
	if (first == 'n' || first == 'f' || first == '0' || (first == 'o' && second == 'f'))
		return 0;
	return -EINVAL;
}

/* ---- settings; each returns 0, or -EINVAL with nothing changed */

static long set_autodrain(struct script_run *run, const char *value)
{
	u64 on;

	if (!number(value, 10, 1, &on))
		return -EINVAL;
	run->no_autodrain = !on;
	return 0;
}

static long set_thp_enabled(struct script_run *run, const char *value)
{
	static const char *const words[] = {
		[THP_MADVISE] = "madvise", [THP_ALWAYS] = "always", [THP_NEVER] = "never"
	};
	int mode = choose(value, words, ARRAY_SIZE(words));

	if (mode < 0)
		return mode;
	run->world->machine->faults->thp_enabled = (enum thp_mode)mode;
	return 0;
}

static long set_thp_defrag(struct script_run *run, const char *value)
{
	static const char *const words[] = { [THP_DEFRAG_MADVISE] = "madvise",
					     [THP_DEFRAG_ALWAYS] = "always",
					     [THP_DEFRAG_DEFER] = "defer",
					     [THP_DEFRAG_NEVER] = "never",
					     [THP_DEFRAG_DEFER_MADVISE] = "defer+madvise" };
	int mode = choose(value, words, ARRAY_SIZE(words));

	if (mode < 0)
		return mode;
	run->world->machine->faults->thp_defrag = (enum thp_defrag)mode;
	return 0;
}

static long set_shmem_enabled(struct script_run *run, const char *value)
{
	static const char *const words[] = {
		[SHMEM_HUGE_NEVER] = "never",
		[SHMEM_HUGE_ALWAYS] = "always",
		[SHMEM_HUGE_WITHIN_SIZE] = "within_size",
		[SHMEM_HUGE_ADVISE] = "advise",
		[SHMEM_HUGE_DENY] = "deny",
		[SHMEM_HUGE_FORCE] = "force",
	};
	int mode = choose(value, words, ARRAY_SIZE(words));

	if (mode < 0)
		return mode;
	run->world->machine->files->shmem_enabled = (enum shmem_huge)mode;
	return 0;
}

static long set_use_zero_page(struct script_run *run, const char *value)
{
	u64 use;

	if (!number(value, 10, 1, &use))
		return -EINVAL;
	run->world->machine->faults->no_zero_page = !use;
	return 0;
}

static long set_demotion_enabled(struct script_run *run, const char *value)
{
	int on = truth(value);

	if (on < 0)
		return on;
	run->world->machine->reclaim->demotion_enabled = on;
	return 0;
}

static long set_swappiness(struct script_run *run, const char *value)
{
	u64 swappiness;

	if (!number(value, 0, 200, &swappiness))
		return -EINVAL;
	run->world->machine->reclaim->swappiness = (unsigned int)swappiness;
	return 0;
}

/* ---- NUMA balancing */

static void numa_off(struct script_run *run)
{
	struct ps_reclaim *reclaim = run->world->machine->reclaim;
	bool demotion = reclaim->demotion_enabled;
	guint i;

	ps_policy_detach(run->policy);
	run->policy = NULL;
	reclaim->demotion_enabled = demotion; /* another file's setting */
	for (i = 0; i < run->actors->len; i++)
		((struct script_actor *)g_ptr_array_index(run->actors, i))->next_tick = 0;
}

static long set_numa_balancing(struct script_run *run, const char *value)
{
	struct ps_policy_settings settings;
	char text[64];
	long error;
	u64 mode;

	if (!number(value, 0, NUMA_MODE_MAX, &mode))
		return -EINVAL;
	numa_off(run);
	mode &= 3;
	if (!mode)
		return 0;
	g_snprintf(text, sizeof(text), "numa-balancing,mode=%u,demotion=%d", (unsigned int)mode,
		   run->world->machine->reclaim->demotion_enabled);
	if (!ps_policy_parse(text, &settings, NULL))
		return -EINVAL;
	for (unsigned int i = 0; i < PS_POLICY_PARAMS_MAX; i++)
		if (run->numa.set >> i & 1)
			settings.value[i] = run->numa.value[i];
	settings.set |= run->numa.set;
	error = ps_policy_attach(run->world, &settings, &run->policy);
	if (error)
		script_fail(run, "cannot switch NUMA balancing on: %s", g_strerror((int)-error));
	return 0;
}

/* A number of the policy, by the policy's name for it; kept for the next time it is switched on, and in force at once. */
static long set_numa_value(struct script_run *run, const char *param, const char *value)
{
	const struct ps_policy_ops *ops = ps_policy_find("numa-balancing");
	u64 all[PS_POLICY_PARAMS_MAX] = { 0 };
	unsigned int i, at = PS_POLICY_PARAMS_MAX;

	for (i = 0; ops->params[i].name; i++) {
		all[i] = run->numa.set >> i & 1 ? run->numa.value[i] : ops->params[i].def;
		if (!strcmp(ops->params[i].name, param))
			at = i;
	}
	if (!number(value, 0, ops->params[at].max, &all[at]) || all[at] < ops->params[at].min ||
	    (ops->check && ops->check(all)))
		return -EINVAL;
	run->numa.value[at] = all[at];
	run->numa.set |= 1u << at;
	if (run->policy)
		run->policy->value[at] = all[at];
	return 0;
}

static long set_scan_delay(struct script_run *run, const char *value)
{
	return set_numa_value(run, "scan_delay", value);
}

static long set_scan_period_min(struct script_run *run, const char *value)
{
	return set_numa_value(run, "scan_period_min", value);
}

static long set_scan_period_max(struct script_run *run, const char *value)
{
	return set_numa_value(run, "scan_period_max", value);
}

static long set_scan_size(struct script_run *run, const char *value)
{
	return set_numa_value(run, "scan_size", value);
}

static long set_hot_threshold(struct script_run *run, const char *value)
{
	return set_numa_value(run, "hot_threshold", value);
}

static long set_promote_rate_limit(struct script_run *run, const char *value)
{
	return set_numa_value(run, "promote_rate_limit", value);
}

void script_tick(struct script_run *run)
{
	struct script_actor *actor = run->actor;

	if (run->policy && actor && current->now >= actor->next_tick)
		actor->next_tick = ps_policy_tick(run->policy);
}

void script_policy_end(struct script_run *run)
{
	numa_off(run);
}

/* ---- the list */

static const struct {
	const char *name; /* Linux's, where it has one */
	long (*set)(struct script_run *run, const char *value);
} settings[] = {
	{ "thp_enabled", set_thp_enabled },
	{ "thp_defrag", set_thp_defrag },
	{ "shmem_enabled", set_shmem_enabled },
	{ "use_zero_page", set_use_zero_page },
	{ "numa_balancing", set_numa_balancing },
	{ "numa_balancing_scan_delay_ms", set_scan_delay },
	{ "numa_balancing_scan_period_min_ms", set_scan_period_min },
	{ "numa_balancing_scan_period_max_ms", set_scan_period_max },
	{ "numa_balancing_scan_size_mb", set_scan_size },
	{ "numa_balancing_hot_threshold_ms", set_hot_threshold },
	{ "numa_balancing_promote_rate_limit_MBps", set_promote_rate_limit },
	{ "demotion_enabled", set_demotion_enabled },
	{ "swappiness", set_swappiness },
	{ "autodrain", set_autodrain },
};

long verb_kernel_set(struct script_run *run)
{
	GString *known;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(settings); i++)
		if (!strcmp(settings[i].name, run->st->name))
			return settings[i].set(run, run->st->word);
	known = g_string_new(NULL);
	for (i = 0; i < ARRAY_SIZE(settings); i++)
		g_string_append_printf(known, "%s%s", i ? ", " : "", settings[i].name);
	script_fail(run, "unknown setting '%s': expected one of %s", run->st->name, known->str);
	g_string_free(known, TRUE);
	return 0;
}
