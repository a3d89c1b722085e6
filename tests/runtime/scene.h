/* SPDX-License-Identifier: MIT */
/*
 * The stage of the runtime's tests: a runtime whose reports are recorded instead of fatal, a diary tasks write into
 * ("name@clock word"), and a way back to the test when a deadlock is reported.
 */
#ifndef PS_TESTS_SCENE_H
#define PS_TESTS_SCENE_H

#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"

#include <pagesim/alloc.h>
#include <pagesim/runtime.h>

#define SCENE_REPORTS 16

struct scene {
	struct ps_runtime *rt;
	struct ps_lock_report reports[SCENE_REPORTS];
	unsigned int nr_reports;
	char deadlock[2048]; /* text of the deadlock, if there was one */
	struct ps_deadlock_edge edges[16];
	size_t nr_edges;
	jmp_buf after_deadlock;
	char diary[16384];
	size_t written;
	struct ps_alloc_counts before;
};

static struct scene scene;

static inline void scene_on_lock_report(void *arg, const struct ps_lock_report *report)
{
	if (scene.nr_reports < SCENE_REPORTS)
		scene.reports[scene.nr_reports] = *report;
	scene.nr_reports++;
}

static inline void scene_on_deadlock(void *arg, const struct ps_deadlock *deadlock)
{
	size_t i;

	ps_deadlock_text(deadlock, scene.deadlock, sizeof(scene.deadlock));
	scene.nr_edges = deadlock->nr_edges;
	for (i = 0; i < deadlock->nr_edges && i < ARRAY_SIZE(scene.edges); i++)
		scene.edges[i] = deadlock->edges[i];
	longjmp(scene.after_deadlock, 1);
}

/* Starts a scene; set may be NULL. Its handlers are the scene's. */
static inline void scene_begin(const struct ps_runtime_settings *set)
{
	struct ps_runtime_settings s = { 0 };

	if (set)
		s = *set;
	s.on_lock_report = scene_on_lock_report;
	s.on_deadlock = scene_on_deadlock;
	memset(&scene, 0, sizeof(scene));
	ps_alloc_counts(&scene.before);
	scene.rt = ps_runtime_new(&s);
	assert_non_null(scene.rt);
}

/* Ends it: nothing was reported that the test did not take note of, nothing leaked. */
static inline void scene_end(void)
{
	struct ps_alloc_counts now;

	ps_runtime_free(scene.rt);
	scene.rt = NULL;
	ps_alloc_counts(&now);
	assert_int_equal(now.live, scene.before.live);
	assert_int_equal(scene.nr_reports, 0);
}

static inline struct task_struct *scene_task(const char *name, ps_task_fn fn, void *arg)
{
	struct task_struct *t = ps_task_new(scene.rt, name, fn, arg);

	assert_non_null(t);
	return t;
}

static inline void scene_run(void)
{
	ps_runtime_run(scene.rt, UINT64_MAX);
}

/* Takes note of one report. */
static inline struct ps_lock_report scene_take_report(void)
{
	struct ps_lock_report r = scene.reports[0];

	assert_int_equal(scene.nr_reports, 1);
	scene.nr_reports = 0;
	return r;
}

/* Writes "name@clock word " into the diary. */
static inline void say(const char *word)
{
	scene.written += (size_t)snprintf(scene.diary + scene.written, sizeof(scene.diary) - scene.written,
					  "%s@%llu %s ", ps_current->comm, (unsigned long long)ps_now(), word);
}

static inline void assert_diary(const char *expected)
{
	assert_string_equal(scene.diary, expected);
	scene.diary[0] = 0;
	scene.written = 0;
}

/* The sum over the time classes is the task's life. */
static inline void assert_time_adds_up(const struct task_struct *t)
{
	ps_ns_t sum = 0;
	int i;

	for (i = 0; i < PS_NR_TIME_CLASSES; i++)
		sum += t->time[i];
	assert_int_equal(sum, t->now - t->started);
}

#endif
