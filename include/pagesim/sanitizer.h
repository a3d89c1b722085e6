/* SPDX-License-Identifier: MIT */
/*
 * Which sanitizer this is compiled for: PS_ASAN and PS_TSAN are defined or not. gcc and clang say it differently.
 *
 * Layer: base
 */
#ifndef PAGESIM_SANITIZER_H
#define PAGESIM_SANITIZER_H

#if defined(__SANITIZE_ADDRESS__)
#define PS_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define PS_TSAN 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(PS_ASAN)
#define PS_ASAN 1
#endif
#if __has_feature(thread_sanitizer) && !defined(PS_TSAN)
#define PS_TSAN 1
#endif
#endif

#endif
