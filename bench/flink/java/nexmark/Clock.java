package nexmark;

import java.util.concurrent.atomic.AtomicLong;

/** When the first source of the running job began to read; one job runs at a time in this process. */
final class Clock {
    private static final AtomicLong STARTED = new AtomicLong();

    private Clock() {}

    static void reset() {
        STARTED.set(0);
    }

    static void sourceStarted() {
        STARTED.compareAndSet(0, System.nanoTime());
    }

    /** Seconds since the first source began to read. */
    static double seconds() {
        return (System.nanoTime() - STARTED.get()) / 1e9;
    }
}
