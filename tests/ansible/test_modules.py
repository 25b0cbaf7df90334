"""The collection's modules, run as Ansible runs them, against a stand-in for the gateway's API."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import unittest

from fake_api import serve

ALICE = {"user": "alice", "secret": "very-hidden-1"}
DOCUMENT = {"ports": [{"name": "core", "mtu": 1500}], "ike": {"dpd": "30s", "rekey": "4h"}, "subscribers": [ALICE]}


class Modules(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.socket = os.path.join(self.folder.name, "api.sock")
        self.server, self.gateway = serve(self.socket, json.loads(json.dumps(DOCUMENT)))
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def run_module(self, what, /, check=False, **arguments):
        arguments.update(socket=self.socket, _ansible_check_mode=check, _ansible_diff=True, _ansible_remote_tmp=self.folder.name)
        module = "ansible_collections.softwire.gateway.plugins.modules.softwire_" + what
        given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
        done = subprocess.run([sys.executable, "-m", module], input=given, capture_output=True, text=True, check=False)
        self.assertNotIn("very-hidden", done.stdout + done.stderr)
        return json.loads(done.stdout)

    def config(self, **arguments):
        return self.run_module("config", **arguments)

    def commits(self):
        return [a for a in self.gateway.asked if a.startswith(("PUT", "PATCH", "DELETE")) and "dry_run" not in a]

    def test_what_is_so_already_changes_nothing(self):
        for arguments in (
            {"config": DOCUMENT},
            {"config": {"dpd": "30s"}, "path": "/ike", "state": "merged"},
            {"config": ALICE, "path": "/subscribers/alice"},
            {"path": "/subscribers/bob", "state": "deleted"},
        ):
            self.assertFalse(self.config(**arguments)["changed"], arguments)
        self.assertEqual(self.commits(), [])

    def test_replaced(self):
        done = self.config(config=dict(DOCUMENT, subscribers=[]), comment="no more alice")
        self.assertTrue(done["changed"])
        self.assertEqual(done["commit"], 2)
        self.assertEqual(done["diff"]["before"], {"/subscribers/alice": {"user": "alice", "secret": "***"}})
        self.assertEqual(self.gateway.document["subscribers"], [])
        self.assertEqual(self.commits(), ["PUT /api/v1/config?comment=no%20more%20alice"])

    def test_check_mode_says_what_would_change_and_changes_nothing(self):
        would = self.config(check=True, config={"dpd": "10s"}, path="ike", state="merged")
        self.assertTrue(would["changed"])
        self.assertEqual((would["diff"]["before"], would["diff"]["after"]), ({"/ike/dpd": "30s"}, {"/ike/dpd": "10s"}))
        self.assertEqual((self.gateway.document, self.commits()), (DOCUMENT, []))

    def test_merged_leaves_the_rest(self):
        self.config(config={"dpd": "10s"}, path="/ike", state="merged")
        self.assertEqual(self.gateway.document["ike"], {"dpd": "10s", "rekey": "4h"})

    def test_items_by_their_key(self):
        self.assertTrue(self.config(path="/subscribers/bob", config={"user": "bob", "secret": "very-hidden-2"})["changed"])
        self.assertTrue(self.config(path="/subscribers/alice", config={"user": "alice", "secret": "very-hidden-3"})["changed"])
        self.assertEqual([s["secret"] for s in self.gateway.document["subscribers"]], ["very-hidden-3", "very-hidden-2"])
        self.assertTrue(self.config(path="/subscribers/alice", state="deleted")["changed"])
        self.assertEqual([s["user"] for s in self.gateway.document["subscribers"]], ["bob"])

    def test_what_counts_after_a_restart_is_named(self):
        self.assertEqual(self.config(path="/ports/core", config={"mtu": 9000}, state="merged")["restart"], ["/ports"])
        self.assertEqual(self.config(path="/ike", config={"dpd": "9s"}, state="merged")["restart"], [])

    def test_confirmed_only_when_the_gateway_is_still_reached(self):
        self.config(path="/ike", config={"dpd": "9s"}, state="merged", confirm=60)
        self.assertIsNone(self.gateway.pending)
        self.assertEqual(self.gateway.asked[-2:], ["GET /api/v1/health", "POST /api/v1/config/confirm"])
        self.assertTrue(self.commits()[0].endswith("confirm=60"))

    def test_nobody_elses_commit_is_confirmed(self):
        self.gateway.overtaken = True
        failed = self.config(path="/ike", config={"dpd": "9s"}, state="merged", confirm=60)
        self.assertEqual((failed["failed"], failed["status"]), (True, 412))
        self.assertIsNotNone(self.gateway.pending)

    def test_keys_with_strange_characters(self):
        for path, user, asked in (
            ("/subscribers/al ice?#@x", "al ice?#@x", "al%20ice%3F%23%40x"),
            ("/subscribers/2001:db8::1", "2001:db8::1", "2001:db8::1"),
            ("/subscribers/a%2Fb", "a/b", "a%2Fb"),
            ("/subscribers/ä", "ä", "%C3%A4"),
        ):
            self.assertTrue(self.config(path=path, config={"user": user})["changed"])
            self.assertEqual(self.gateway.document["subscribers"][-1], {"user": user})
            self.assertEqual(self.commits()[-1], "PUT /api/v1/config/subscribers/%s?comment=by%%20Ansible" % asked)

    def test_what_a_refusal_repeats_has_no_secrets(self):
        self.gateway.repeats = True
        for arguments in (
            {"path": "/ike", "config": {"dpd": {"secret": "very-hidden-4"}, "identity": "alice"}},
            {"path": "/ike", "config": {"peers": [{"name": "alice", "psk": ['very-hidden-"5"', "\\very-hidden-6"]}]}},
            {"config": {"subscribers": [{"user": "alice", "hash": {"very-hidden-7": 1}}, {"user": "bob", "secret": "very"}]}},
            {"path": "/subscribers/alice/secret/", "config": "very-hidden-8"},
        ):
            failed = self.config(**arguments)
            self.assertEqual((failed["failed"], failed["status"]), (True, 422))
            for said in failed["msg"], failed["problem"]["detail"], failed["problem"]["errors"][0]["detail"]:
                self.assertIn("invalid type: ", said)
                self.assertIn("***", said)
            self.assertIn("alice", failed["msg"])

    def test_a_refusal_names_the_place(self):
        failed = self.config(path="/subscribers/bob", config={"user": "", "secret": "very-hidden-2"})
        self.assertTrue(failed["failed"])
        self.assertIn("/subscribers/0/user: a name is needed", failed["msg"])
        self.assertEqual(failed["status"], 422)

    def test_nobody_there(self):
        self.socket += ".gone"
        self.assertTrue(self.config(config=DOCUMENT)["failed"])

    def test_a_token_is_made_once_and_again_when_it_is_lost(self):
        path = os.path.join(self.folder.name, "token")
        self.assertTrue(self.run_module("token", check=True, name="prometheus", path=path)["changed"])
        self.assertEqual((self.gateway.tokens, os.path.exists(path)), ({}, False))
        first = self.run_module("token", name="prometheus", path=path)
        self.assertTrue(first["changed"])
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        with open(path, encoding="ascii") as f:
            self.assertTrue(f.read().startswith("swgw_%s_" % first["id"]))
        self.assertFalse(self.run_module("token", name="prometheus", path=path)["changed"])
        os.unlink(path)
        again = self.run_module("token", name="prometheus", path=path)
        self.assertEqual((again["changed"], list(self.gateway.tokens)), (True, [again["id"]]))
        self.assertNotEqual(again["id"], first["id"])
        self.assertTrue(self.run_module("token", name="prometheus", path=path, role="operate")["changed"])
        self.assertTrue(self.run_module("token", name="prometheus", path=path, state="absent")["changed"])
        self.assertFalse(self.run_module("token", name="prometheus", path=path, state="absent")["changed"])
        self.assertEqual((self.gateway.tokens, os.path.exists(path)), ({}, False))


if __name__ == "__main__":
    unittest.main()
