/* SPDX-License-Identifier: MIT */
/*
 * First touch: a page stays where its first fault put it. The yardstick for every other policy. With demotion=1 reclaim may
 * still move cold pages to a slower node when memory is short, as it may on a Linux without NUMA balancing.
 */
#include <pagesim/machine.h>
#include <pagesim/reclaim.h>

#include "policy/policies.h"

static const struct ps_policy_param params[] = {
	{ "demotion", "1: reclaim may move pages to a slower node instead of dropping them", 0, 0, 1 },
	{ NULL, NULL, 0, 0, 0 },
};

static int none_init(struct ps_policy *policy)
{
	policy->machine->reclaim->demotion_enabled = policy->value[0] != 0;
	return 0;
}

static void none_destroy(struct ps_policy *policy)
{
	policy->machine->reclaim->demotion_enabled = false;
}

const struct ps_policy_ops ps_policy_none = {
	.name = "none",
	.what = "pages stay where they were touched first",
	.params = params,
	.init = none_init,
	.destroy = none_destroy,
};
