/* A small team of threads that share the phases of one step.

   Between phases they wait for each other: spinning for some 40 microseconds, because a phase takes a few, and asleep
   beyond that, so that a thread which lost its core to the audio process costs that process nothing. Work is dealt out
   in equal shares; who is done early takes from the others' shares. Which thread computes a number never changes it. */
#ifndef SOUNDFORGE_POOL_H
#define SOUNDFORGE_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define MAX_THREADS 64
#define SPINS 1200

#if defined(__x86_64__) || defined(__i386__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ __volatile__("yield")
#else
#define RELAX() ((void)0)
#endif

typedef struct { _Alignas(64) atomic_int taken; } share;

typedef struct team {
    int threads;
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint turn;
    atomic_int sleepers;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    share shares[3][MAX_THREADS]; /* a phase uses one set, the next one is cleared meanwhile */
} team;

typedef struct { team *team; int id; int phase; } member;

typedef void (*item_function)(void *job, int item, int thread);

/* Wait until `turn` is no longer `old`. */
static void await_turn(team *t, atomic_uint *turn, unsigned old) {
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(turn, memory_order_acquire) != old) return;
        RELAX();
    }
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add(&t->sleepers, 1);
    while (atomic_load(turn) == old) pthread_cond_wait(&t->woken, &t->lock);
    atomic_fetch_sub(&t->sleepers, 1);
    pthread_mutex_unlock(&t->lock);
}

static void set_turn(team *t, atomic_uint *turn, unsigned value) {
    atomic_store(turn, value);
    if (atomic_load(&t->sleepers) > 0) {
        pthread_mutex_lock(&t->lock);
        pthread_cond_broadcast(&t->woken);
        pthread_mutex_unlock(&t->lock);
    }
}

static void meet(team *t) {
    if (t->threads == 1) return;
    unsigned old = atomic_load(&t->turn);
    if (atomic_fetch_add(&t->arrived, 1) + 1 == t->threads) {
        atomic_store(&t->arrived, 0);
        set_turn(t, &t->turn, old + 1);
    } else {
        await_turn(t, &t->turn, old);
    }
}

/* Run `work` for items 0 .. n - 1, shared by the team; returns when all are done. */
static void share_out(member *m, int n, item_function work, void *job) {
    team *t = m->team;
    int threads = t->threads;
    if (threads == 1) {
        for (int i = 0; i < n; i++) work(job, i, 0);
        return;
    }
    share *now = t->shares[m->phase % 3];
    atomic_store_explicit(&t->shares[(m->phase + 1) % 3][m->id].taken, 0, memory_order_relaxed);
    for (int other = 0; other < threads; other++) {
        int owner = (m->id + other) % threads;
        int first = (int)((int64_t)n * owner / threads), end = (int)((int64_t)n * (owner + 1) / threads);
        for (;;) {
            int i = first + atomic_fetch_add_explicit(&now[owner].taken, 1, memory_order_relaxed);
            if (i >= end) break;
            work(job, i, m->id);
        }
    }
    m->phase++;
    meet(t);
}

/* --- threads that stay ------------------------------------------------------------------------------------------ */

typedef void (*team_function)(member *m, void *job);

static struct {
    pthread_mutex_t use; /* held by the caller whose job runs */
    team crew;
    int started;         /* workers there are */
    atomic_uint calls;   /* moves on with each job; its low 8 bits are the threads of the job, the caller's included */
    unsigned seen[MAX_THREADS]; /* the call that was there when a worker started */
    team_function run;
    void *job;
} pool = {.use = PTHREAD_MUTEX_INITIALIZER,
          .crew = {.threads = 1, .lock = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER}};

static void play_part(int id) {
    member m = {&pool.crew, id, 0};
    pool.run(&m, pool.job);
    meet(&pool.crew);
}

static void *worker(void *argument) {
    int id = (int)(intptr_t)argument;
    unsigned seen = pool.seen[id];
    for (;;) {
        await_turn(&pool.crew, &pool.calls, seen);
        seen = atomic_load(&pool.calls);
        if (id < (int)(seen & 255)) play_part(id);
    }
    return NULL;
}

static int start_workers(int wanted) {
    while (pool.started < wanted - 1) {
        pthread_t thread;
        pthread_attr_t detached;
        pool.seen[pool.started + 1] = atomic_load(&pool.calls);
        pthread_attr_init(&detached);
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        int failed = pthread_create(&thread, &detached, worker, (void *)(intptr_t)(pool.started + 1));
        pthread_attr_destroy(&detached);
        if (failed) break;
        pool.started++;
    }
    return pool.started + 1;
}

/* Run a job on up to `threads` threads; on the caller's alone when another caller's job runs. */
static void run_on_team(int threads, team_function run, void *job) {
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (threads > 1 && pthread_mutex_trylock(&pool.use) == 0) {
        int there = start_workers(threads);
        team *crew = &pool.crew;
        crew->threads = threads < there ? threads : there;
        if (crew->threads > 1) {
            for (int set = 0; set < 3; set++)
                for (int i = 0; i < crew->threads; i++) atomic_store(&crew->shares[set][i].taken, 0);
            pool.run = run;
            pool.job = job;
            unsigned call = (atomic_load(&pool.calls) & ~255u) + 256u + (unsigned)crew->threads;
            set_turn(crew, &pool.calls, call);
            play_part(0);
            pthread_mutex_unlock(&pool.use);
            return;
        }
        pthread_mutex_unlock(&pool.use);
    }
    team alone = {.threads = 1};
    member m = {&alone, 0, 0};
    run(&m, job);
}

/* In a forked child the workers are not there. */
static void forget_workers(void) {
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t woken = PTHREAD_COND_INITIALIZER;
    pool.use = pool.crew.lock = lock;
    pool.crew.woken = woken;
    pool.started = 0;
    atomic_store(&pool.crew.sleepers, 0);
    atomic_store(&pool.crew.arrived, 0);
}

#endif
