"""The journal's `stream.changed`: told when a stream's columns have become other ones, once, whatever is run again."""

from running_project import wait_until


def test_a_change_is_told_once(bank):
    file = bank.folder / "headwater.yml"
    file.write_text(file.read_text().replace("checkpoint_interval: 300 ms", "checkpoint_interval: 1 h"))
    bank.start()
    bank.wait_caught_up()
    bank.connection.execute("ALTER TABLE accounts ADD COLUMN note text DEFAULT 'none'")
    bank.connection.execute("INSERT INTO accounts VALUES (200, 1, 10, 'new')")
    wait_until(lambda: bank.events("stream.changed"), "the change is told")
    bank.wait_caught_up()
    bank.connection.execute("INSERT INTO accounts VALUES (201, 1, 10, 'newer')")
    bank.wait_caught_up()
    assert bank.headwater("source", "resnapshot", "bank", str(bank.folder)).returncode == 0
    wait_until(lambda: bank.events("source.decided"), "all is read anew")
    bank.wait_caught_up()
    assert [event["columns"] for event in bank.events("stream.changed")] == ["id, branch, balance, note"]
    bank.connection.execute("ALTER TABLE accounts RENAME COLUMN note TO remark")
    bank.connection.execute("INSERT INTO accounts VALUES (202, 1, 10, 'newest')")
    wait_until(lambda: len(bank.events("stream.changed")) == 2, "the next change is told too")
    assert bank.stop() == 0
