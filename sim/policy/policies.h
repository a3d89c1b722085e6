/* SPDX-License-Identifier: MIT */
/*
 * The policies there are. A new one: its file, a line here, a line in meson.build.
 */
#ifndef POLICY_POLICIES_H
#define POLICY_POLICIES_H

#include <pagesim/policy.h>

/* P(object), in the order people see them; the first is the default. */
#define PS_POLICIES(P)    \
	P(ps_policy_none) \
	P(ps_policy_numa_balancing)

#define PS_POLICY_DECLARE(object) extern const struct ps_policy_ops object;
PS_POLICIES(PS_POLICY_DECLARE)
#undef PS_POLICY_DECLARE

#endif
