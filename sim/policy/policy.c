/* SPDX-License-Identifier: MIT */
/*
 * The list of policies, reading "NAME,PARAM=NUMBER,...", and putting one to work.
 */
#include <pagesim/policy.h>

#include <errno.h>
#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/machine.h>
#include <pagesim/task.h>
#include <pagesim/world.h>

#include "policy/policies.h"

#define PS_POLICY_ADDRESS(object) &object,
static const struct ps_policy_ops *const policies[] = { PS_POLICIES(PS_POLICY_ADDRESS) };
#undef PS_POLICY_ADDRESS

G_DEFINE_QUARK(ps - policy - error - quark, ps_policy_error)

const struct ps_policy_ops *ps_policy_at(unsigned int i)
{
	return i < ARRAY_SIZE(policies) ? policies[i] : NULL;
}

const struct ps_policy_ops *ps_policy_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(policies); i++)
		if (!strcmp(policies[i]->name, name))
			return policies[i];
	return NULL;
}

static unsigned int nr_params(const struct ps_policy_ops *ops)
{
	unsigned int n = 0;

	while (ops->params && ops->params[n].name)
		n++;
	return n;
}

static int find_param(const struct ps_policy_ops *ops, const char *name)
{
	unsigned int i, n = nr_params(ops);

	for (i = 0; i < n; i++)
		if (!strcmp(ops->params[i].name, name))
			return (int)i;
	return -1;
}

static void fill_in(const struct ps_policy_settings *settings, u64 *ret_value)
{
	unsigned int i, n = nr_params(settings->ops);

	for (i = 0; i < n; i++)
		ret_value[i] = settings->set >> i & 1 ? settings->value[i] : settings->ops->params[i].def;
}

/* Settings that did not come from ps_policy_parse() may say anything. Return: NULL, or what is wrong. */
static const char *settings_wrong(const struct ps_policy_settings *settings)
{
	unsigned int i, n = nr_params(settings->ops);
	u64 value[PS_POLICY_PARAMS_MAX];

	if (n < 32 && settings->set >> n)
		return "a parameter that does not exist is set";
	fill_in(settings, value);
	for (i = 0; i < n; i++)
		if (value[i] < settings->ops->params[i].min || value[i] > settings->ops->params[i].max)
			return settings->ops->params[i].what;
	return settings->ops->check ? settings->ops->check(value) : NULL;
}

/* ---- reading */

static gboolean unknown_policy(const char *name, GError **error)
{
	GString *names = g_string_new(NULL);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(policies); i++)
		g_string_append_printf(names, "%s%s", i ? ", " : "", policies[i]->name);
	g_set_error(error, PS_POLICY_ERROR, PS_POLICY_ERROR_UNKNOWN, "unknown policy '%s'; there are: %s", name,
		    names->str);
	g_string_free(names, TRUE);
	return FALSE;
}

static gboolean unknown_param(const struct ps_policy_ops *ops, const char *what, GError **error)
{
	GString *names = g_string_new(NULL);
	unsigned int i, n = nr_params(ops);

	for (i = 0; i < n; i++)
		g_string_append_printf(names, "%s%s", i ? ", " : "", ops->params[i].name);
	g_set_error(error, PS_POLICY_ERROR, PS_POLICY_ERROR_PARAM,
		    "policy %s: expected PARAM=NUMBER, found '%s'; parameters: %s", ops->name, what,
		    n ? names->str : "none");
	g_string_free(names, TRUE);
	return FALSE;
}

/* "NAME=NUMBER"; changes the text. */
static gboolean parse_param(struct ps_policy_settings *settings, char *text, GError **error)
{
	const struct ps_policy_param *param;
	char *equals = strchr(text, '=');
	guint64 value;
	int i;

	if (!equals)
		return unknown_param(settings->ops, text, error);
	*equals = '\0';
	i = find_param(settings->ops, text);
	if (i < 0)
		return unknown_param(settings->ops, text, error);
	param = &settings->ops->params[i];
	if (settings->set >> i & 1) {
		g_set_error(error, PS_POLICY_ERROR, PS_POLICY_ERROR_PARAM, "policy %s: %s is given twice",
			    settings->ops->name, text);
		return FALSE;
	}
	if (!g_ascii_string_to_unsigned(equals + 1, 10, param->min, param->max, &value, NULL)) {
		g_set_error(error, PS_POLICY_ERROR, PS_POLICY_ERROR_VALUE,
			    "policy %s: %s: expected a number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
			    ", found '%s'",
			    settings->ops->name, text, (guint64)param->min, (guint64)param->max, equals + 1);
		return FALSE;
	}
	settings->value[i] = value;
	settings->set |= 1u << i;
	return TRUE;
}

gboolean ps_policy_parse(const char *text, struct ps_policy_settings *ret_settings, GError **error)
{
	struct ps_policy_settings settings = { .ops = NULL };
	char **words = g_strsplit(text, ",", -1);
	const char *why;
	gboolean ok = TRUE;
	unsigned int i;

	settings.ops = ps_policy_find(words[0] ? words[0] : "");
	if (!settings.ops)
		ok = unknown_policy(words[0] ? words[0] : "", error);
	for (i = 1; ok && words[i]; i++)
		ok = parse_param(&settings, words[i], error);
	if (ok) {
		why = settings_wrong(&settings);
		if (why) {
			g_set_error(error, PS_POLICY_ERROR, PS_POLICY_ERROR_VALUE, "policy %s: %s", settings.ops->name,
				    why);
			ok = FALSE;
		}
	}
	if (ok)
		*ret_settings = settings;
	g_strfreev(words);
	return ok;
}

/* ---- at work */

/* Makes sure that a task of the world is current. Return: whether to leave it again. */
static bool enter(struct ps_world *world)
{
	if (ps_current)
		return false;
	ps_task_enter(world->boot);
	return true;
}

int ps_policy_attach(struct ps_world *world, const struct ps_policy_settings *settings, struct ps_policy **ret_policy)
{
	struct ps_policy_settings chosen = { .ops = NULL };
	struct ps_policy *policy;
	int error = 0;
	bool entered;

	if (settings)
		chosen = *settings;
	if (!chosen.ops)
		chosen = (struct ps_policy_settings){ .ops = policies[0] };
	if (world->machine->policy)
		return -EBUSY;
	if (settings_wrong(&chosen))
		return -EINVAL;
	policy = ps_zalloc(sizeof(*policy));
	if (!policy)
		return -ENOMEM;
	policy->ops = chosen.ops;
	policy->world = world;
	policy->machine = world->machine;
	policy->set = chosen.set;
	fill_in(&chosen, policy->value);
	entered = enter(world);
	if (policy->ops->init)
		error = policy->ops->init(policy);
	if (entered)
		ps_task_leave();
	if (error) {
		ps_free(policy);
		return error;
	}
	world->machine->policy = policy;
	*ret_policy = policy;
	return 0;
}

void ps_policy_detach(struct ps_policy *policy)
{
	bool entered;

	if (!policy)
		return;
	entered = enter(policy->world);
	if (policy->ops->destroy)
		policy->ops->destroy(policy);
	if (entered)
		ps_task_leave();
	policy->machine->policy = NULL;
	ps_free(policy);
}

void ps_policy_task_exit(struct ps_policy *policy, const struct task_struct *task)
{
	if (policy && policy->ops->task_exit)
		policy->ops->task_exit(policy, task);
}

const char *ps_policy_stat(const struct ps_policy *policy, unsigned int i, u64 *ret_value)
{
	return policy->ops->stat ? policy->ops->stat(policy, i, ret_value) : NULL;
}

bool ps_policy_value(const struct ps_policy *policy, const char *name, u64 *ret_value)
{
	int i = find_param(policy->ops, name);

	if (i < 0)
		return false;
	*ret_value = policy->value[i];
	return true;
}
