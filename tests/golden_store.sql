BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE nas_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT nas_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "nas_alembic_version" VALUES('0003');
CREATE TABLE nas_architectures (
	id VARCHAR(64) NOT NULL, 
	json JSON NOT NULL, 
	notation TEXT NOT NULL, 
	macs BIGINT NOT NULL, 
	params BIGINT NOT NULL, 
	activations BIGINT NOT NULL, 
	peak_activation_bytes BIGINT NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_nas_architectures PRIMARY KEY (id)
);
INSERT INTO "nas_architectures" VALUES('e861e2f3c33a3f92','{"format": "nas.architecture/1", "in_channels": 1, "resolution": 16, "classes": 10, "stem": [{"block": "conv", "out_channels": 8, "stride": 1}], "stages": [[{"block": "mbconv", "out_channels": 16, "stride": 2, "expansion": 4}, {"block": "mbconv", "out_channels": 16, "stride": 1, "expansion": 4}]], "head": [{"block": "classifier", "out_channels": 10, "stride": 1}]}','cn_r1_k3_s1_c8
ir_r2_k3_s2_e4_c16
fc_r1_c10',303264,4386,22538,65536,'2026-11-28 19:19:43.424874');
INSERT INTO "nas_architectures" VALUES('64990a5c4a63bdaa','{"format": "nas.architecture/1", "in_channels": 1, "resolution": 16, "classes": 10, "stem": [{"block": "conv", "out_channels": 8, "stride": 1}], "stages": [[{"block": "mbconv", "out_channels": 16, "stride": 2, "expansion": 3, "kernels": "3.5"}, {"block": "mbconv", "out_channels": 16, "stride": 1, "expansion": 3, "kernels": "3.5"}]], "head": [{"block": "classifier", "out_channels": 10, "stride": 1}]}','cn_r1_k3_s1_c8
ir_r2_k3.5_s2_e3_c16
fc_r1_c10',268960,3946,17930,49152,'2026-11-28 19:19:47.089511');
INSERT INTO "nas_architectures" VALUES('6bc0d2af6b4353cd','{"format": "nas.architecture/1", "in_channels": 1, "resolution": 16, "classes": 10, "stem": [{"block": "conv", "out_channels": 8, "stride": 1}], "stages": [[{"block": "mbconv", "out_channels": 16, "stride": 2, "expansion": 3}, {"block": "mbconv", "out_channels": 16, "stride": 1, "expansion": 3}]], "head": [{"block": "classifier", "out_channels": 10, "stride": 1}]}','cn_r1_k3_s1_c8
ir_r2_k3_s2_e3_c16
fc_r1_c10',232096,3370,17930,49152,'2026-11-28 19:19:48.633379');
INSERT INTO "nas_architectures" VALUES('2998f6bd736f2676','{"format": "nas.architecture/1", "in_channels": 1, "resolution": 16, "classes": 10, "stem": [{"block": "conv", "out_channels": 8, "stride": 1}], "stages": [[{"block": "mbconv", "out_channels": 8, "stride": 2, "expansion": 4, "kernels": "3.5"}, {"block": "mbconv", "out_channels": 8, "stride": 1, "expansion": 4, "kernels": "3.5"}]], "head": [{"block": "classifier", "out_channels": 10, "stride": 1}]}','cn_r1_k3_s1_c8
ir_r2_k3.5_s2_e4_c8
fc_r1_c10',202832,2578,17418,65536,'2026-11-28 19:19:50.095828');
CREATE TABLE nas_artifacts (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	kind VARCHAR(64) NOT NULL, 
	path VARCHAR(1024) NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_nas_artifacts PRIMARY KEY (id), 
	CONSTRAINT fk_nas_artifacts_study_id FOREIGN KEY(study_id) REFERENCES nas_studies (id), 
	CONSTRAINT uq_nas_artifacts_study_id_kind_path UNIQUE (study_id, kind, path)
);
INSERT INTO "nas_artifacts" VALUES(1,1,'code','@FOLDER@/studies/finished/best/model.py','2026-11-28 19:19:55.163727');
INSERT INTO "nas_artifacts" VALUES(2,1,'picture','@FOLDER@/studies/finished/search.png','2026-11-28 19:19:55.164694');
CREATE TABLE nas_curve_points (
	evaluation_id INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	metrics JSON NOT NULL, 
	train_loss DOUBLE, 
	seconds DOUBLE NOT NULL, 
	learning_rate DOUBLE, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_nas_curve_points PRIMARY KEY (evaluation_id, epoch), 
	CONSTRAINT fk_nas_curve_points_evaluation_id FOREIGN KEY(evaluation_id) REFERENCES nas_evaluations (id)
);
INSERT INTO "nas_curve_points" VALUES(1,1,'{"accuracy": 0.14763231197771587, "balanced_accuracy": 0.14617117117117118, "macro_f1": 0.062347099688871845, "auroc": 0.7949805982228471, "loss": 2.294780969619751, "majority_rate": 0.10306406685236769, "predicted_classes": 3.0}',2.25458889343431412299e+00,0.891102420999971,6.4350457160348827762e-03,'2026-11-28 19:19:46.341727');
INSERT INTO "nas_curve_points" VALUES(1,2,'{"accuracy": 0.24233983286908078, "balanced_accuracy": 0.2425611325611326, "macro_f1": 0.15696442790904822, "auroc": 0.8636292705155719, "loss": 2.0896804332733154, "majority_rate": 0.10306406685236769, "predicted_classes": 6.0}',2.02353592555317440826e+00,6.74127473999988069408e-01,3.42205545047584696466e-05,'2026-11-28 19:19:47.046771');
INSERT INTO "nas_curve_points" VALUES(2,1,'{"accuracy": 0.09749303621169916, "balanced_accuracy": 0.1, "macro_f1": 0.017766497461928935, "auroc": 0.7853244062220146, "loss": 2.295717239379883, "majority_rate": 0.10306406685236769, "predicted_classes": 1.0}',2.25037537469589876693e+00,7.15174256000011610012e-01,6.4350457160348827762e-03,'2026-11-28 19:19:47.832820');
INSERT INTO "nas_curve_points" VALUES(2,2,'{"accuracy": 0.24512534818941503, "balanced_accuracy": 0.24849206349206346, "macro_f1": 0.14382517704414857, "auroc": 0.9000538612216944, "loss": 2.092494010925293, "majority_rate": 0.10306406685236769, "predicted_classes": 5.0}',2.03544089217446710904e+00,7.5117079599999669881e-01,3.42205545047584696466e-05,'2026-11-28 19:19:48.604266');
INSERT INTO "nas_curve_points" VALUES(3,1,'{"accuracy": 0.15877437325905291, "balanced_accuracy": 0.15675675675675677, "macro_f1": 0.051875000000000004, "auroc": 0.7486386439320886, "loss": 2.301389455795288, "majority_rate": 0.10306406685236769, "predicted_classes": 2.0}',2.24194222804680265426e+00,6.93469692999997278093e-01,6.4350457160348827762e-03,'2026-11-28 19:19:49.356680');
INSERT INTO "nas_curve_points" VALUES(3,2,'{"accuracy": 0.2116991643454039, "balanced_accuracy": 0.20841269841269844, "macro_f1": 0.10881120073091252, "auroc": 0.9053117234689452, "loss": 2.1020877361297607, "majority_rate": 0.10306406685236769, "predicted_classes": 6.0}',2.02614092186051886201e+00,6.92544977000011385825e-01,3.42205545047584696466e-05,'2026-11-28 19:19:50.067510');
INSERT INTO "nas_curve_points" VALUES(4,1,'{"accuracy": 0.10027855153203342, "balanced_accuracy": 0.1, "macro_f1": 0.018604651162790697, "auroc": 0.8415124049496103, "loss": 2.3103160858154297, "majority_rate": 0.10306406685236769, "predicted_classes": 2.0}',2.25772719785391551283e+00,7.87826248000044415675e-01,6.4350457160348827762e-03,'2026-11-28 19:19:50.910313');
INSERT INTO "nas_curve_points" VALUES(4,2,'{"accuracy": 0.12534818941504178, "balanced_accuracy": 0.12447447447447449, "macro_f1": 0.05096061520284452, "auroc": 0.867342396752591, "loss": 2.1570160388946533, "majority_rate": 0.10306406685236769, "predicted_classes": 6.0}',2.06705947890118180154e+00,8.04896654999993188539e-01,3.42205545047584696466e-05,'2026-11-28 19:19:51.738832');
INSERT INTO "nas_curve_points" VALUES(5,1,'{"accuracy": 0.10027855153203342, "balanced_accuracy": 0.1, "macro_f1": 0.018227848101265823, "auroc": 0.6825672856031362, "loss": 2.3228657245635986, "majority_rate": 0.10306406685236769, "predicted_classes": 1.0}',2.31320685385773883169e+00,1.17869653100001414713e+00,0.00512,'2026-11-28 19:24:01.634101');
INSERT INTO "nas_curve_points" VALUES(5,2,'{"accuracy": 0.16434540389972144, "balanced_accuracy": 0.1638888888888889, "macro_f1": 0.10714596949891067, "auroc": 0.9327855525724239, "loss": 2.1336915493011475, "majority_rate": 0.10306406685236769, "predicted_classes": 4.0}',2.12765884752954104186e+00,8.87406196999904750555e-01,7.81486780299290792473e-03,'2026-11-28 19:24:02.557008');
INSERT INTO "nas_curve_points" VALUES(5,3,'{"accuracy": 0.6740947075208914, "balanced_accuracy": 0.6727391677391676, "macro_f1": 0.6549612978421568, "auroc": 0.9687428937440152, "loss": 1.3015731573104858, "majority_rate": 0.10306406685236769, "predicted_classes": 10.0}',1.78511009180954594022e+00,9.03727700999979788321e-01,6.14919843338729635306e-03,'2026-11-28 19:24:03.483702');
INSERT INTO "nas_curve_points" VALUES(5,4,'{"accuracy": 0.7381615598885793, "balanced_accuracy": 0.7381231231231231, "macro_f1": 0.7174559641349048, "auroc": 0.9852046583757893, "loss": 0.9517172574996948, "majority_rate": 0.10306406685236769, "predicted_classes": 10.0}',1.4890257770867121323e+00,7.53027410000072450202e-01,3.47789523111979468825e-03,'2026-11-28 19:24:04.260942');
INSERT INTO "nas_curve_points" VALUES(5,5,'{"accuracy": 0.8328690807799443, "balanced_accuracy": 0.832893607893608, "macro_f1": 0.8270422034584666, "auroc": 0.9880718802181987, "loss": 0.7533289790153503, "majority_rate": 0.10306406685236769, "predicted_classes": 10.0}',1.32688630875666135899e+00,8.80442004999963501177e-01,1.05089065275950407224e-03,'2026-11-28 19:24:05.167581');
INSERT INTO "nas_curve_points" VALUES(5,6,'{"accuracy": 0.841225626740947, "balanced_accuracy": 0.841143286143286, "macro_f1": 0.8379201432026864, "auroc": 0.989374505106546, "loss": 0.7195206880569458, "majority_rate": 0.10306406685236769, "predicted_classes": 10.0}',1.297892290315106667e+00,8.34056810999982189969e-01,3.80711367256880716964e-06,'2026-11-28 19:24:06.027516');
INSERT INTO "nas_curve_points" VALUES(6,1,'{"accuracy": 0.10027855153203342, "balanced_accuracy": 0.1, "macro_f1": 0.018227848101265823, "auroc": 0.7513195270022119, "loss": 2.320143938064575, "majority_rate": 0.10306406685236769, "predicted_classes": 1.0}',2.27150270251679797794e+00,7.10285053999996307538e-01,0.00512,'2026-11-28 19:24:06.864823');
INSERT INTO "nas_curve_points" VALUES(6,2,'{"accuracy": 0.19498607242339833, "balanced_accuracy": 0.19444444444444445, "macro_f1": 0.09373627087801391, "auroc": 0.8442867582823611, "loss": 2.194368600845337, "majority_rate": 0.10306406685236769, "predicted_classes": 5.0}',2.06392004315338262188e+00,7.01058012999965285416e-01,7.81486780299290792473e-03,'2026-11-28 19:24:07.586735');
INSERT INTO "nas_curve_points" VALUES(6,3,'{"accuracy": 0.3983286908077994, "balanced_accuracy": 0.3964800514800515, "macro_f1": 0.3562353302493356, "auroc": 0.9064514533121792, "loss": 1.6206588745117188, "majority_rate": 0.10306406685236769, "predicted_classes": 9.0}',1.82723679423221740947e+00,8.48440097999969111697e-01,6.14919843338729635306e-03,'2026-11-28 19:24:08.454566');
INSERT INTO "nas_curve_points" VALUES(6,4,'{"accuracy": 0.5682451253481894, "balanced_accuracy": 0.5663191763191763, "macro_f1": 0.5439265776960915, "auroc": 0.9497821544855691, "loss": 1.321570634841919, "majority_rate": 0.10306406685236769, "predicted_classes": 10.0}',1.61751207805983554521e+00,8.20988668000040888728e-01,3.47789523111979468825e-03,'2026-11-28 19:24:09.295929');
INSERT INTO "nas_curve_points" VALUES(6,5,'{"accuracy": 0.7186629526462396, "balanced_accuracy": 0.7182475332475332, "macro_f1": 0.7126255356233775, "auroc": 0.968518699041201, "loss": 1.114983320236206, "majority_rate": 0.10306406685236769, "predicted_classes": 10.0}',1.49705289004576,6.8261289099996247387e-01,1.05089065275950407224e-03,'2026-11-28 19:24:09.994655');
INSERT INTO "nas_curve_points" VALUES(6,6,'{"accuracy": 0.8440111420612814, "balanced_accuracy": 0.8436078936078936, "macro_f1": 0.840406249707325, "auroc": 0.9808350132016395, "loss": 0.9938595294952393, "majority_rate": 0.10306406685236769, "predicted_classes": 10.0}',1.451334673127606667e+00,7.1257444200000463752e-01,3.80711367256880716964e-06,'2026-11-28 19:24:10.725518');
INSERT INTO "nas_curve_points" VALUES(7,1,'{"accuracy": 0.10584958217270195, "balanced_accuracy": 0.10833333333333332, "macro_f1": 0.03204134366925064, "auroc": 0.7466972514502465, "loss": 2.3187930583953857, "majority_rate": 0.10306406685236769, "predicted_classes": 2.0}',2.27142735605885093264e+00,6.47142105999932937265e-01,0.00512,'2026-11-28 19:24:11.453055');
INSERT INTO "nas_curve_points" VALUES(7,2,'{"accuracy": 0.25348189415041783, "balanced_accuracy": 0.2518232518232518, "macro_f1": 0.15871549293284656, "auroc": 0.8705424000492876, "loss": 2.1413278579711914, "majority_rate": 0.10306406685236769, "predicted_classes": 5.0}',2.12014343431418,6.24199467999915214022e-01,7.81486780299290792473e-03,'2026-11-28 19:24:12.100214');
INSERT INTO "nas_curve_points" VALUES(7,3,'{"accuracy": 0.4206128133704735, "balanced_accuracy": 0.41681681681681687, "macro_f1": 0.35644774877655633, "auroc": 0.8957494833384365, "loss": 1.7201086282730103, "majority_rate": 0.10306406685236769, "predicted_classes": 7.0}',1.87712904653469658811e+00,5.94577769000011358002e-01,6.14919843338729635306e-03,'2026-11-28 19:24:12.710925');
INSERT INTO "nas_curve_points" VALUES(7,4,'{"accuracy": 0.6072423398328691, "balanced_accuracy": 0.6031703131703131, "macro_f1": 0.5371428336796117, "auroc": 0.9534978990233174, "loss": 1.3137754201889038, "majority_rate": 0.10306406685236769, "predicted_classes": 9.0}',1.63246993382182581378e+00,5.57104871000092316535e-01,3.47789523111979468825e-03,'2026-11-28 19:24:13.285283');
INSERT INTO "nas_curve_points" VALUES(7,5,'{"accuracy": 0.7799442896935933, "balanced_accuracy": 0.7793393393393393, "macro_f1": 0.764885832799745, "auroc": 0.9756349531014135, "loss": 1.0534143447875977, "majority_rate": 0.10306406685236769, "predicted_classes": 10.0}',1.51038038874246982601e+00,5.79828686999917408684e-01,1.05089065275950407224e-03,'2026-11-28 19:24:13.883125');
CREATE TABLE nas_evaluations (
	id INTEGER NOT NULL, 
	architecture_id VARCHAR(64) NOT NULL, 
	recipe_hash VARCHAR(64) NOT NULL, 
	fidelity INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	study_id INTEGER, 
	number INTEGER, 
	worker VARCHAR(255) NOT NULL, 
	attempt INTEGER NOT NULL, 
	deaths INTEGER NOT NULL, 
	expires_at DOUBLE, 
	metrics JSON, 
	reason TEXT, 
	seconds DOUBLE, 
	checkpoint TEXT, 
	created DATETIME NOT NULL, 
	finished DATETIME, 
	CONSTRAINT pk_nas_evaluations PRIMARY KEY (id), 
	CONSTRAINT fk_nas_evaluations_architecture_id FOREIGN KEY(architecture_id) REFERENCES nas_architectures (id), 
	CONSTRAINT fk_nas_evaluations_recipe_hash FOREIGN KEY(recipe_hash) REFERENCES nas_recipes (hash), 
	CONSTRAINT fk_nas_evaluations_study_id FOREIGN KEY(study_id) REFERENCES nas_studies (id), 
	CONSTRAINT uq_nas_evaluations_architecture_id_recipe_hash_fidelity UNIQUE (architecture_id, recipe_hash, fidelity)
);
INSERT INTO "nas_evaluations" VALUES(1,'e861e2f3c33a3f92','8b56b283e2594b3b',2,'complete',1,0,'vm:5715:1',1,0,NULL,'{"accuracy": 0.24233983286908078, "balanced_accuracy": 0.2425611325611326, "macro_f1": 0.15696442790904822, "auroc": 0.8636292705155719, "loss": 2.0896804332733154, "majority_rate": 0.10306406685236769, "predicted_classes": 6.0}',NULL,1.56522989499995901496e+00,'@FOLDER@/studies/finished/checkpoints/e861e2f3c33a3f92-8b56b283e2594b3b','2026-11-28 19:19:43.426167','2026-11-28 19:19:47.073165');
INSERT INTO "nas_evaluations" VALUES(2,'64990a5c4a63bdaa','8b56b283e2594b3b',2,'complete',1,1,'vm:5715:1',1,0,NULL,'{"accuracy": 0.24512534818941503, "balanced_accuracy": 0.24849206349206346, "macro_f1": 0.14382517704414857, "auroc": 0.9000538612216944, "loss": 2.092494010925293, "majority_rate": 0.10306406685236769, "predicted_classes": 5.0}',NULL,1.46634505200000830882e+00,'@FOLDER@/studies/finished/checkpoints/64990a5c4a63bdaa-8b56b283e2594b3b','2026-11-28 19:19:47.089685','2026-11-28 19:19:48.619733');
INSERT INTO "nas_evaluations" VALUES(3,'6bc0d2af6b4353cd','8b56b283e2594b3b',2,'complete',1,2,'vm:5715:1',1,0,NULL,'{"accuracy": 0.2116991643454039, "balanced_accuracy": 0.20841269841269844, "macro_f1": 0.10881120073091252, "auroc": 0.9053117234689452, "loss": 2.1020877361297607, "majority_rate": 0.10306406685236769, "predicted_classes": 6.0}',NULL,1.38601467000000866391e+00,'@FOLDER@/studies/finished/checkpoints/6bc0d2af6b4353cd-8b56b283e2594b3b','2026-11-28 19:19:48.633608','2026-11-28 19:19:50.082357');
INSERT INTO "nas_evaluations" VALUES(4,'2998f6bd736f2676','8b56b283e2594b3b',2,'complete',1,3,'vm:5715:1',1,0,NULL,'{"accuracy": 0.12534818941504178, "balanced_accuracy": 0.12447447447447449, "macro_f1": 0.05096061520284452, "auroc": 0.867342396752591, "loss": 2.1570160388946533, "majority_rate": 0.10306406685236769, "predicted_classes": 6.0}',NULL,1.59272290300003760421e+00,'@FOLDER@/studies/finished/checkpoints/2998f6bd736f2676-8b56b283e2594b3b','2026-11-28 19:19:50.096101','2026-11-28 19:19:51.757120');
INSERT INTO "nas_evaluations" VALUES(5,'64990a5c4a63bdaa','3b4a95789d12bd9a',6,'complete',2,0,'vm:19127:1',1,0,NULL,'{"accuracy": 0.841225626740947, "balanced_accuracy": 0.841143286143286, "macro_f1": 0.8379201432026864, "auroc": 0.989374505106546, "loss": 0.7195206880569458, "majority_rate": 0.10306406685236769, "predicted_classes": 10.0}',NULL,5.43735665499991682736e+00,'@FOLDER@/studies/interrupted/checkpoints/64990a5c4a63bdaa-3b4a95789d12bd9a','2026-11-28 19:23:58.446688','2026-11-28 19:24:06.105437');
INSERT INTO "nas_evaluations" VALUES(6,'e861e2f3c33a3f92','3b4a95789d12bd9a',6,'complete',2,1,'vm:19127:1',1,0,NULL,'{"accuracy": 0.8440111420612814, "balanced_accuracy": 0.8436078936078936, "macro_f1": 0.840406249707325, "auroc": 0.9808350132016395, "loss": 0.9938595294952393, "majority_rate": 0.10306406685236769, "predicted_classes": 10.0}',NULL,4.47595916599993870477e+00,'@FOLDER@/studies/interrupted/checkpoints/e861e2f3c33a3f92-3b4a95789d12bd9a','2026-11-28 19:24:06.122224','2026-11-28 19:24:10.766973');
INSERT INTO "nas_evaluations" VALUES(7,'6bc0d2af6b4353cd','3b4a95789d12bd9a',6,'running',2,2,'vm:19127:1',1,0,1.7958938838829877376e+09,NULL,NULL,NULL,NULL,'2026-11-28 19:24:10.784595',NULL);
CREATE TABLE nas_jobs (
	id VARCHAR(128) NOT NULL, 
	address VARCHAR(512) NOT NULL, 
	words JSON NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	message TEXT, 
	created DATETIME NOT NULL, 
	changed DATETIME NOT NULL, 
	CONSTRAINT pk_nas_jobs PRIMARY KEY (id)
);
CREATE TABLE nas_recipes (
	hash VARCHAR(64) NOT NULL, 
	json JSON NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_nas_recipes PRIMARY KEY (hash)
);
INSERT INTO "nas_recipes" VALUES('8b56b283e2594b3b','{"data": "digits", "fingerprint": "f1e603cfa281b03ee284ff9af86b1821", "epochs": 2, "metric": "accuracy", "seed": 0, "batch_size": 64, "learning_rate": 0.008, "weight_decay": 0.05, "warmup_epochs": 2.0, "label_smoothing": 0.1, "ema_decay": 0.995, "clip_norm": 2.0, "class_balance": 0.0, "augmentation": {"rotation": 20.0, "scale": 0.2, "shift": 0.1, "flip": false, "brightness": 0.5, "contrast": 0.5, "cutout": 0.4}, "version": 1}','2026-11-28 19:19:35.873079');
INSERT INTO "nas_recipes" VALUES('3b4a95789d12bd9a','{"data": "digits", "fingerprint": "f1e603cfa281b03ee284ff9af86b1821", "epochs": 6, "metric": "accuracy", "seed": 1, "batch_size": 64, "learning_rate": 0.008, "weight_decay": 0.05, "warmup_epochs": 2.0, "label_smoothing": 0.1, "ema_decay": 0.995, "clip_norm": 2.0, "class_balance": 0.0, "augmentation": {"rotation": 20.0, "scale": 0.2, "shift": 0.1, "flip": false, "brightness": 0.5, "contrast": 0.5, "cutout": 0.4}, "version": 1}','2026-11-28 19:23:52.878628');
CREATE TABLE nas_studies (
	id INTEGER NOT NULL, 
	name VARCHAR(512) NOT NULL, 
	config JSON NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_nas_studies PRIMARY KEY (id), 
	CONSTRAINT uq_nas_studies_name UNIQUE (name)
);
INSERT INTO "nas_studies" VALUES(1,'finished','{"parameters": {"stage1.width": [8, 16], "stage1.depth": [1, 2], "stage1.expansion": [2, 3, 4], "stage1.kernels": ["3", "3.5"]}, "space": {"format": "nas.search_space/1", "name": "golden", "resolution": 16, "dropout": 0.0, "in_channels": 3, "classes": 1000, "stem": [{"block": {"block": "conv"}, "width": 8, "depth": 1, "stride": 1}], "stages": [{"block": {"block": "mbconv", "expansion": {"choice": [2, 3, 4]}, "kernels": {"choice": ["3", "3.5"]}}, "width": {"choice": [8, 16]}, "depth": {"choice": [1, 2]}, "stride": 2}], "head": []}, "data": "digits", "classes": 10, "in_channels": 1, "recipe": {"data": "digits", "fingerprint": "f1e603cfa281b03ee284ff9af86b1821", "epochs": 2, "metric": "accuracy", "seed": 0, "batch_size": 64, "learning_rate": 0.008, "weight_decay": 0.05, "warmup_epochs": 2.0, "label_smoothing": 0.1, "ema_decay": 0.995, "clip_norm": 2.0, "class_balance": 0.0, "augmentation": {"rotation": 20.0, "scale": 0.2, "shift": 0.1, "flip": false, "brightness": 0.5, "contrast": 0.5, "cutout": 0.4}, "version": 1}, "recipe_hash": "8b56b283e2594b3b", "objective": {"target_flops": 300000, "kind": "soft", "weight": -0.07}, "limits": {"macs": 450000, "params": null, "activations": null, "peak_activation_bytes": null}, "sampler": "nas", "pruner": "median", "seed": 0, "folder": "@FOLDER@/studies/finished", "prefilter": null, "features": null, "warm_start": true, "fidelity": "epochs", "reduction": 3, "checkpoints": null, "showcase": true, "trials": 4, "seconds": null}','2026-11-28 19:19:35.872345');
INSERT INTO "nas_studies" VALUES(2,'interrupted','{"parameters": {"stage1.width": [8, 16], "stage1.depth": [1, 2], "stage1.expansion": [2, 3, 4], "stage1.kernels": ["3", "3.5"]}, "space": {"format": "nas.search_space/1", "name": "golden", "resolution": 16, "dropout": 0.0, "in_channels": 3, "classes": 1000, "stem": [{"block": {"block": "conv"}, "width": 8, "depth": 1, "stride": 1}], "stages": [{"block": {"block": "mbconv", "expansion": {"choice": [2, 3, 4]}, "kernels": {"choice": ["3", "3.5"]}}, "width": {"choice": [8, 16]}, "depth": {"choice": [1, 2]}, "stride": 2}], "head": []}, "data": "digits", "classes": 10, "in_channels": 1, "recipe": {"data": "digits", "fingerprint": "f1e603cfa281b03ee284ff9af86b1821", "epochs": 6, "metric": "accuracy", "seed": 1, "batch_size": 64, "learning_rate": 0.008, "weight_decay": 0.05, "warmup_epochs": 2.0, "label_smoothing": 0.1, "ema_decay": 0.995, "clip_norm": 2.0, "class_balance": 0.0, "augmentation": {"rotation": 20.0, "scale": 0.2, "shift": 0.1, "flip": false, "brightness": 0.5, "contrast": 0.5, "cutout": 0.4}, "version": 1}, "recipe_hash": "3b4a95789d12bd9a", "objective": {"target_flops": 250000, "kind": "soft", "weight": -0.07}, "limits": {"macs": 375000, "params": null, "activations": null, "peak_activation_bytes": null}, "sampler": "nas", "pruner": "median", "seed": 1, "folder": "@FOLDER@/studies/interrupted", "prefilter": null, "features": null, "warm_start": true, "fidelity": "epochs", "reduction": 3, "checkpoints": null, "showcase": true, "trials": 5, "seconds": null}','2026-11-28 19:23:52.877309');
CREATE TABLE nas_test_looks (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	evaluation_id INTEGER NOT NULL, 
	metrics JSON NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_nas_test_looks PRIMARY KEY (id), 
	CONSTRAINT fk_nas_test_looks_evaluation_id FOREIGN KEY(evaluation_id) REFERENCES nas_evaluations (id), 
	CONSTRAINT fk_nas_test_looks_study_id FOREIGN KEY(study_id) REFERENCES nas_studies (id)
);
INSERT INTO "nas_test_looks" VALUES(1,1,2,'{"accuracy": 0.25348189415041783, "balanced_accuracy": 0.25666666666666665, "macro_f1": 0.16441669837391765, "auroc": 0.9002241051633074, "loss": 2.0961899757385254, "majority_rate": 0.10306406685236769, "predicted_classes": 5.0}','2026-11-28 19:19:53.306946');
CREATE TABLE nas_trials (
	trial_id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	evaluation_id INTEGER NOT NULL, 
	reused_from TEXT, promoted_from INTEGER, 
	CONSTRAINT pk_nas_trials PRIMARY KEY (trial_id), 
	CONSTRAINT fk_nas_trials_evaluation_id FOREIGN KEY(evaluation_id) REFERENCES nas_evaluations (id), 
	CONSTRAINT fk_nas_trials_study_id FOREIGN KEY(study_id) REFERENCES nas_studies (id), 
	CONSTRAINT uq_nas_trials_study_id_number UNIQUE (study_id, number)
);
INSERT INTO "nas_trials" VALUES(1,1,0,1,NULL,NULL);
INSERT INTO "nas_trials" VALUES(2,1,1,2,NULL,NULL);
INSERT INTO "nas_trials" VALUES(3,1,2,3,NULL,NULL);
INSERT INTO "nas_trials" VALUES(4,1,3,4,NULL,NULL);
INSERT INTO "nas_trials" VALUES(5,2,0,5,NULL,NULL);
INSERT INTO "nas_trials" VALUES(6,2,1,6,NULL,NULL);
INSERT INTO "nas_trials" VALUES(7,2,2,7,NULL,NULL);
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'finished');
INSERT INTO "studies" VALUES(2,'interrupted');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
INSERT INTO "study_directions" VALUES(2,'MAXIMIZE',2,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(3,1,'study:metric_names','["score"]');
INSERT INTO "study_system_attributes" VALUES(4,1,'dashboard:1:note_ver','1');
INSERT INTO "study_system_attributes" VALUES(5,1,'dashboard:1:note_str:0','"### Trial 0: complete\n\n| part of the score | value |\n| :-- | --: |\n| validation accuracy | 0.2423 |\n| FLOPs over the target | 303,264 FLOPs / 300k = 1.011 |\n| its weight w | -0.07 |\n| factor | 0.9992 |\n| **score** | **0.2422** |\n\nbalanced accuracy 0.2426, macro f1 0.1570, auroc 0.8636, majority rate 0.1031, loss 2.0897\n\n**Cost:** 303,264 multiply-accumulates, 4,386 parameters, 22,538 activations, 0.0625 MiB of activations at once\n\n**Curve** (accuracy after epoch): 1: 0.148, 2: 0.242; 2 s of training\n\n| part | blocks | kernels | pixels | width | macs | share | params |\n| :-- | :-- | :-- | :-- | --: | --: | --: | --: |\n| stem | conv \u00d71 | `3` | 16 \u2192 16 | 8 | 18.4k | 6% | 88 |\n| stage1 | mbconv \u00d72 | `3` | 16 \u2192 8 | 16 | 285k | 94% | 4.13k |\n| head | classifier \u00d71 |  | 8 \u2192 1 | 10 | 160 | 0% | 170 |\n\n#### Code\n\nThe network; its blocks are in the artifact `network.py`, which needs torch alone.\n\n```python\nclass Network(nn.Module):\n    \"\"\"Images of (N, 1, 16, 16) in, logits of (N, 10) out.\"\"\"\n\n    def __init__(self) -> None:\n        super().__init__()\n        self.stem = nn.Sequential(\n            ConvNormAct(1, 8, 3),\n        )\n        self.stage1 = nn.Sequential(\n            MBConv(8, 32, 16, (32,), (3,), stride=2),\n            MBConv(16, 64, 16, (64,), (3,), skip=\"identity\"),\n        )\n        self.head = nn.Sequential(\n            Classifier(16, 10),\n        )\n\n    def forward(self, x: Tensor) -> Tensor:\n        x = self.stem(x)  # (N, 8, 16, 16)\n        x = self.stage1(x)  # (N, 16, 8, 8)\n        return self.head(x)  # (N, 10)\n```\n\n---\n*What you write below this line stays.*"');
INSERT INTO "study_system_attributes" VALUES(6,1,'dashboard:2:note_ver','1');
INSERT INTO "study_system_attributes" VALUES(7,1,'dashboard:2:note_str:0','"### Trial 1: complete\n\n| part of the score | value |\n| :-- | --: |\n| validation accuracy | 0.2451 |\n| FLOPs over the target | 268,960 FLOPs / 300k = 0.897 |\n| its weight w | -0.07 |\n| factor | 1.0077 |\n| **score** | **0.2470** |\n\nbalanced accuracy 0.2485, macro f1 0.1438, auroc 0.9001, majority rate 0.1031, loss 2.0925\n\n**Cost:** 268,960 multiply-accumulates, 3,946 parameters, 17,930 activations, 0.0469 MiB of activations at once\n\n**Curve** (accuracy after epoch): 1: 0.097, 2: 0.245; 1 s of training\n\n| part | blocks | kernels | pixels | width | macs | share | params |\n| :-- | :-- | :-- | :-- | --: | --: | --: | --: |\n| stem | conv \u00d71 | `3` | 16 \u2192 16 | 8 | 18.4k | 7% | 88 |\n| stage1 | mbconv \u00d72 | `3.5` | 16 \u2192 8 | 16 | 250k | 93% | 3.69k |\n| head | classifier \u00d71 |  | 8 \u2192 1 | 10 | 160 | 0% | 170 |\n\n#### Code\n\nThe network; its blocks are in the artifact `network.py`, which needs torch alone.\n\n```python\nclass Network(nn.Module):\n    \"\"\"Images of (N, 1, 16, 16) in, logits of (N, 10) out.\"\"\"\n\n    def __init__(self) -> None:\n        super().__init__()\n        self.stem = nn.Sequential(\n            ConvNormAct(1, 8, 3),\n        )\n        self.stage1 = nn.Sequential(\n            MBConv(8, 24, 16, (12, 12), (3, 5), stride=2),\n            MBConv(16, 48, 16, (24, 24), (3, 5), skip=\"identity\"),\n        )\n        self.head = nn.Sequential(\n            Classifier(16, 10),\n        )\n\n    def forward(self, x: Tensor) -> Tensor:\n        x = self.stem(x)  # (N, 8, 16, 16)\n        x = self.stage1(x)  # (N, 16, 8, 8)\n        return self.head(x)  # (N, 10)\n```\n\n---\n*What you write below this line stays.*"');
INSERT INTO "study_system_attributes" VALUES(8,1,'dashboard:3:note_ver','1');
INSERT INTO "study_system_attributes" VALUES(9,1,'dashboard:3:note_str:0','"### Trial 2: complete\n\n| part of the score | value |\n| :-- | --: |\n| validation accuracy | 0.2117 |\n| FLOPs over the target | 232,096 FLOPs / 300k = 0.774 |\n| its weight w | -0.07 |\n| factor | 1.0181 |\n| **score** | **0.2155** |\n\nbalanced accuracy 0.2084, macro f1 0.1088, auroc 0.9053, majority rate 0.1031, loss 2.1021\n\n**Cost:** 232,096 multiply-accumulates, 3,370 parameters, 17,930 activations, 0.0469 MiB of activations at once\n\n**Curve** (accuracy after epoch): 1: 0.159, 2: 0.212; 1 s of training\n\n| part | blocks | kernels | pixels | width | macs | share | params |\n| :-- | :-- | :-- | :-- | --: | --: | --: | --: |\n| stem | conv \u00d71 | `3` | 16 \u2192 16 | 8 | 18.4k | 8% | 88 |\n| stage1 | mbconv \u00d72 | `3` | 16 \u2192 8 | 16 | 214k | 92% | 3.11k |\n| head | classifier \u00d71 |  | 8 \u2192 1 | 10 | 160 | 0% | 170 |\n\n#### Code\n\nThe network; its blocks are in the artifact `network.py`, which needs torch alone.\n\n```python\nclass Network(nn.Module):\n    \"\"\"Images of (N, 1, 16, 16) in, logits of (N, 10) out.\"\"\"\n\n    def __init__(self) -> None:\n        super().__init__()\n        self.stem = nn.Sequential(\n            ConvNormAct(1, 8, 3),\n        )\n        self.stage1 = nn.Sequential(\n            MBConv(8, 24, 16, (24,), (3,), stride=2),\n            MBConv(16, 48, 16, (48,), (3,), skip=\"identity\"),\n        )\n        self.head = nn.Sequential(\n            Classifier(16, 10),\n        )\n\n    def forward(self, x: Tensor) -> Tensor:\n        x = self.stem(x)  # (N, 8, 16, 16)\n        x = self.stage1(x)  # (N, 16, 8, 8)\n        return self.head(x)  # (N, 10)\n```\n\n---\n*What you write below this line stays.*"');
INSERT INTO "study_system_attributes" VALUES(10,1,'dashboard:4:note_ver','1');
INSERT INTO "study_system_attributes" VALUES(11,1,'dashboard:4:note_str:0','"### Trial 3: complete\n\n| part of the score | value |\n| :-- | --: |\n| validation accuracy | 0.1253 |\n| FLOPs over the target | 202,832 FLOPs / 300k = 0.676 |\n| its weight w | -0.07 |\n| factor | 1.0278 |\n| **score** | **0.1288** |\n\nbalanced accuracy 0.1245, macro f1 0.0510, auroc 0.8673, majority rate 0.1031, loss 2.1570\n\n**Cost:** 202,832 multiply-accumulates, 2,578 parameters, 17,418 activations, 0.0625 MiB of activations at once\n\n**Curve** (accuracy after epoch): 1: 0.100, 2: 0.125; 2 s of training\n\n| part | blocks | kernels | pixels | width | macs | share | params |\n| :-- | :-- | :-- | :-- | --: | --: | --: | --: |\n| stem | conv \u00d71 | `3` | 16 \u2192 16 | 8 | 18.4k | 9% | 88 |\n| stage1 | mbconv \u00d72 | `3.5` | 16 \u2192 8 | 8 | 184k | 91% | 2.4k |\n| head | classifier \u00d71 |  | 8 \u2192 1 | 10 | 80 | 0% | 90 |\n\n#### Code\n\nThe network; its blocks are in the artifact `network.py`, which needs torch alone.\n\n```python\nclass Network(nn.Module):\n    \"\"\"Images of (N, 1, 16, 16) in, logits of (N, 10) out.\"\"\"\n\n    def __init__(self) -> None:\n        super().__init__()\n        self.stem = nn.Sequential(\n            ConvNormAct(1, 8, 3),\n        )\n        self.stage1 = nn.Sequential(\n            MBConv(8, 32, 8, (16, 16), (3, 5), stride=2),\n            MBConv(8, 32, 8, (16, 16), (3, 5), skip=\"identity\"),\n        )\n        self.head = nn.Sequential(\n            Classifier(8, 10),\n        )\n\n    def forward(self, x: Tensor) -> Tensor:\n        x = self.stem(x)  # (N, 8, 16, 16)\n        x = self.stage1(x)  # (N, 8, 8, 8)\n        return self.head(x)  # (N, 10)\n```\n\n---\n*What you write below this line stays.*"');
INSERT INTO "study_system_attributes" VALUES(12,1,'dashboard:note_ver','2');
INSERT INTO "study_system_attributes" VALUES(13,1,'dashboard:note_str:0','"## finished\n\n**Question:** which network of the space `golden` (4 parameters) is best on `digits` (10 classes)?\n\n**Objective:** accuracy x (FLOPs / T)^w, T = 300,000, w = -0.07. The higher the better. Never more than 450,000 macs.\n\n**Recipe:** 2 epochs in batches of 64 with AdamW (learning rate 0.008, weight decay 0.05), warm-up and cosine. Each image is changed at random every time: turned by up to 20 degrees, scaled by up to 20%, shifted by up to 10%, brightness \u00b10.5 standard deviations, contrast \u00b150%, half of them with a square of 40% of the side blanked. Label smoothing 0.1; gradients clipped at 2. Scored by accuracy of the moving average of the weights, seed 0.\n\n**Search:** sampler `nas`, pruner `median`, seed 0; budget 4 trials.\n\n**So far:** 4 complete.\n\n**Best:** trial 1, score 0.2470, validation accuracy 0.2451 (majority class 0.1031), 268,960 multiply-accumulates, 3,946 parameters. It keeps every limit: networks that break one are never trained. Pruned trials and rungs are no results; a reused trial has the score of the one that it repeats.\n\nIts code and weights: `finished/best/model.py`\n\nThe test split was looked at 1x.\n\n---\n*What you write below this line stays.*"');
INSERT INTO "study_system_attributes" VALUES(14,1,'dashboard:plot_data:pareto-front:0','"{\"data\": [{\"type\": \"scatter\", \"name\": \"complete\", \"mode\": \"markers\", \"marker\": {\"symbol\": \"circle-open\", \"color\": \"#334155\", \"size\": 9}, \"x\": [303264.0, 268960.0, 232096.0, 202832.0], \"y\": [0.24233983286908078, 0.24512534818941503, 0.2116991643454039, 0.12534818941504178], \"text\": [\"trial 0, score 0.2422\", \"trial 1, score 0.2470\", \"trial 2, score 0.2155\", \"trial 3, score 0.1288\"], \"hovertemplate\": \"%{text}<br>%{y:.4f} at %{x:,.4s}<extra></extra>\"}, {\"type\": \"scatter\", \"name\": \"front\", \"mode\": \"lines+markers\", \"marker\": {\"color\": \"#334155\", \"size\": 9}, \"x\": [202832.0, 232096.0, 268960.0], \"y\": [0.12534818941504178, 0.2116991643454039, 0.24512534818941503], \"text\": [\"trial 3, score 0.1288\", \"trial 2, score 0.2155\", \"trial 1, score 0.2470\"], \"hovertemplate\": \"%{text}<br>%{y:.4f} at %{x:,.4s}<extra></extra>\", \"line\": {\"color\": \"#334155\", \"width\": 1.5, \"shape\": \"hv\"}}, {\"type\": \"scatter\", \"name\": \"best score\", \"mode\": \"markers\", \"marker\": {\"symbol\": \"star\", \"color\": \"#d1495b\", \"size\": 17}, \"x\": [268960.0], \"y\": [0.24512534818941503], \"text\": [\"trial 1, score 0.2470\"], \"hovertemplate\": \"%{text}<br>%{y:.4f} at %{x:,.4s}<extra></extra>\"}], \"layout\": {\"title\": {\"text\": \"accuracy against macs\"}, \"xaxis\": {\"title\": {\"text\": \"macs\"}, \"type\": \"log\"}, \"yaxis\": {\"title\": {\"text\": \"validation accuracy\"}, \"range\": [0.11576601671309192, 0.2547075208913649]}, \"shapes\": [{\"type\": \"line\", \"x0\": 300000, \"x1\": 300000, \"y0\": 0, \"y1\": 1, \"yref\": \"paper\", \"line\": {\"color\": \"#d1495b\", \"width\": 1, \"dash\": \"dash\"}}], \"annotations\": [{\"x\": 5.477121254719663, \"y\": 1, \"yref\": \"paper\", \"text\": \"target 300k\", \"showarrow\": false, \"xanchor\": \"left\", \"yanchor\": \"bottom\", \"font\": {\"color\": \"#d1495b\"}}], \"legend\": {\"orientation\": \"h\", \"y\": -0.2}, \"hovermode\": \"closest\"}}"');
INSERT INTO "study_system_attributes" VALUES(15,1,'artifacts:42b9641b-85de-5364-b8ba-d307795c2988','"{\"artifact_id\": \"42b9641b-85de-5364-b8ba-d307795c2988\", \"filename\": \"winner.png\", \"mimetype\": \"image/png\", \"encoding\": null}"');
INSERT INTO "study_system_attributes" VALUES(16,1,'artifacts:fc67a2cb-1f1d-54e8-9132-c023999055c4','"{\"artifact_id\": \"fc67a2cb-1f1d-54e8-9132-c023999055c4\", \"filename\": \"model.py\", \"mimetype\": \"text/x-python\", \"encoding\": null}"');
INSERT INTO "study_system_attributes" VALUES(17,1,'artifacts:84265d45-9f96-5cd6-a4b7-c9614d63c40b','"{\"artifact_id\": \"84265d45-9f96-5cd6-a4b7-c9614d63c40b\", \"filename\": \"search.png\", \"mimetype\": \"image/png\", \"encoding\": null}"');
INSERT INTO "study_system_attributes" VALUES(18,1,'dashboard:artifacts:2:57fe22ac-8ef6-542c-bb77-e0f17f0ede76','"{\"artifact_id\": \"57fe22ac-8ef6-542c-bb77-e0f17f0ede76\", \"filename\": \"diagram.png\", \"mimetype\": \"image/png\", \"encoding\": null}"');
INSERT INTO "study_system_attributes" VALUES(21,2,'study:metric_names','["score"]');
INSERT INTO "study_system_attributes" VALUES(22,2,'dashboard:5:note_ver','2');
INSERT INTO "study_system_attributes" VALUES(23,2,'dashboard:5:note_str:0','"### Trial 0: complete\n\n| part of the score | value |\n| :-- | --: |\n| validation accuracy | 0.8412 |\n| FLOPs over the target | 268,960 FLOPs / 250k = 1.076 |\n| its weight w | -0.07 |\n| factor | 0.9949 |\n| **score** | **0.8369** |\n\nbalanced accuracy 0.8411, macro f1 0.8379, auroc 0.9894, majority rate 0.1031, loss 0.7195\n\n**Cost:** 268,960 multiply-accumulates, 3,946 parameters, 17,930 activations, 0.0469 MiB of activations at once\n\n**Curve** (accuracy after epoch): 1: 0.100, 2: 0.164, 3: 0.674, 4: 0.738, 5: 0.833, 6: 0.841; 5 s of training\n\n| part | blocks | kernels | pixels | width | macs | share | params |\n| :-- | :-- | :-- | :-- | --: | --: | --: | --: |\n| stem | conv \u00d71 | `3` | 16 \u2192 16 | 8 | 18.4k | 7% | 88 |\n| stage1 | mbconv \u00d72 | `3.5` | 16 \u2192 8 | 16 | 250k | 93% | 3.69k |\n| head | classifier \u00d71 |  | 8 \u2192 1 | 10 | 160 | 0% | 170 |\n\n![diagram: an artifact, which nas dashboard shows](/artifacts/2/5/a0e36665-ce25-54f2-8d2a-8b78b3d36fd6)\n\n#### Code\n\nThe network; its blocks are in the artifact `network.py`, which needs torch alone.\n\n```python\nclass Network(nn.Module):\n    \"\"\"Images of (N, 1, 16, 16) in, logits of (N, 10) out.\"\"\"\n\n    def __init__(self) -> None:\n        super().__init__()\n        self.stem = nn.Sequential(\n            ConvNormAct(1, 8, 3),\n        )\n        self.stage1 = nn.Sequential(\n            MBConv(8, 24, 16, (12, 12), (3, 5), stride=2),\n            MBConv(16, 48, 16, (24, 24), (3, 5), skip=\"identity\"),\n        )\n        self.head = nn.Sequential(\n            Classifier(16, 10),\n        )\n\n    def forward(self, x: Tensor) -> Tensor:\n        x = self.stem(x)  # (N, 8, 16, 16)\n        x = self.stage1(x)  # (N, 16, 8, 8)\n        return self.head(x)  # (N, 10)\n```\n\n---\n*What you write below this line stays.*"');
INSERT INTO "study_system_attributes" VALUES(24,2,'dashboard:6:note_ver','1');
INSERT INTO "study_system_attributes" VALUES(25,2,'dashboard:6:note_str:0','"### Trial 1: complete\n\n| part of the score | value |\n| :-- | --: |\n| validation accuracy | 0.8440 |\n| FLOPs over the target | 303,264 FLOPs / 250k = 1.213 |\n| its weight w | -0.07 |\n| factor | 0.9866 |\n| **score** | **0.8327** |\n\nbalanced accuracy 0.8436, macro f1 0.8404, auroc 0.9808, majority rate 0.1031, loss 0.9939\n\n**Cost:** 303,264 multiply-accumulates, 4,386 parameters, 22,538 activations, 0.0625 MiB of activations at once\n\n**Curve** (accuracy after epoch): 1: 0.100, 2: 0.195, 3: 0.398, 4: 0.568, 5: 0.719, 6: 0.844; 4 s of training\n\n| part | blocks | kernels | pixels | width | macs | share | params |\n| :-- | :-- | :-- | :-- | --: | --: | --: | --: |\n| stem | conv \u00d71 | `3` | 16 \u2192 16 | 8 | 18.4k | 6% | 88 |\n| stage1 | mbconv \u00d72 | `3` | 16 \u2192 8 | 16 | 285k | 94% | 4.13k |\n| head | classifier \u00d71 |  | 8 \u2192 1 | 10 | 160 | 0% | 170 |\n\n![diagram: an artifact, which nas dashboard shows](/artifacts/2/6/539946d4-93ba-5eea-9ea3-413edfde5629)\n\n#### Code\n\nThe network; its blocks are in the artifact `network.py`, which needs torch alone.\n\n```python\nclass Network(nn.Module):\n    \"\"\"Images of (N, 1, 16, 16) in, logits of (N, 10) out.\"\"\"\n\n    def __init__(self) -> None:\n        super().__init__()\n        self.stem = nn.Sequential(\n            ConvNormAct(1, 8, 3),\n        )\n        self.stage1 = nn.Sequential(\n            MBConv(8, 32, 16, (32,), (3,), stride=2),\n            MBConv(16, 64, 16, (64,), (3,), skip=\"identity\"),\n        )\n        self.head = nn.Sequential(\n            Classifier(16, 10),\n        )\n\n    def forward(self, x: Tensor) -> Tensor:\n        x = self.stem(x)  # (N, 8, 16, 16)\n        x = self.stage1(x)  # (N, 16, 8, 8)\n        return self.head(x)  # (N, 10)\n```\n\n---\n*What you write below this line stays.*"');
INSERT INTO "study_system_attributes" VALUES(26,2,'dashboard:note_ver','2');
INSERT INTO "study_system_attributes" VALUES(27,2,'dashboard:note_str:0','"## interrupted\n\n**Question:** which network of the space `golden` (4 parameters) is best on `digits` (10 classes)?\n\n**Objective:** accuracy x (FLOPs / T)^w, T = 250,000, w = -0.07. The higher the better. Never more than 375,000 macs.\n\n**Recipe:** 6 epochs in batches of 64 with AdamW (learning rate 0.008, weight decay 0.05), warm-up and cosine. Each image is changed at random every time: turned by up to 20 degrees, scaled by up to 20%, shifted by up to 10%, brightness \u00b10.5 standard deviations, contrast \u00b150%, half of them with a square of 40% of the side blanked. Label smoothing 0.1; gradients clipped at 2. Scored by accuracy of the moving average of the weights, seed 1.\n\n**Search:** sampler `nas`, pruner `median`, seed 1; budget 5 trials.\n\n**So far:** 2 complete.\n\n**Best:** trial 0, score 0.8369, validation accuracy 0.8412 (majority class 0.1031), 268,960 multiply-accumulates, 3,946 parameters. It keeps every limit: networks that break one are never trained. Pruned trials and rungs are no results; a reused trial has the score of the one that it repeats.\n\n> **The best is over the target: 1.08 times.**\n\n---\n*What you write below this line stays.*"');
INSERT INTO "study_system_attributes" VALUES(28,2,'dashboard:plot_data:pareto-front:0','"{\"data\": [{\"type\": \"scatter\", \"name\": \"complete\", \"mode\": \"markers\", \"marker\": {\"symbol\": \"circle-open\", \"color\": \"#334155\", \"size\": 9}, \"x\": [268960.0, 303264.0], \"y\": [0.841225626740947, 0.8440111420612814], \"text\": [\"trial 0, score 0.8369\", \"trial 1, score 0.8327\"], \"hovertemplate\": \"%{text}<br>%{y:.4f} at %{x:,.4s}<extra></extra>\"}, {\"type\": \"scatter\", \"name\": \"front\", \"mode\": \"lines+markers\", \"marker\": {\"color\": \"#334155\", \"size\": 9}, \"x\": [268960.0, 303264.0], \"y\": [0.841225626740947, 0.8440111420612814], \"text\": [\"trial 0, score 0.8369\", \"trial 1, score 0.8327\"], \"hovertemplate\": \"%{text}<br>%{y:.4f} at %{x:,.4s}<extra></extra>\", \"line\": {\"color\": \"#334155\", \"width\": 1.5, \"shape\": \"hv\"}}, {\"type\": \"scatter\", \"name\": \"best score\", \"mode\": \"markers\", \"marker\": {\"symbol\": \"star\", \"color\": \"#d1495b\", \"size\": 17}, \"x\": [268960.0], \"y\": [0.841225626740947], \"text\": [\"trial 0, score 0.8369\"], \"hovertemplate\": \"%{text}<br>%{y:.4f} at %{x:,.4s}<extra></extra>\"}], \"layout\": {\"title\": {\"text\": \"accuracy against macs\"}, \"xaxis\": {\"title\": {\"text\": \"macs\"}, \"type\": \"log\"}, \"yaxis\": {\"title\": {\"text\": \"validation accuracy\"}, \"range\": [0.8410027855153203, 0.8442339832869081]}, \"shapes\": [{\"type\": \"line\", \"x0\": 250000, \"x1\": 250000, \"y0\": 0, \"y1\": 1, \"yref\": \"paper\", \"line\": {\"color\": \"#d1495b\", \"width\": 1, \"dash\": \"dash\"}}], \"annotations\": [{\"x\": 5.3979400086720375, \"y\": 1, \"yref\": \"paper\", \"text\": \"target 250k\", \"showarrow\": false, \"xanchor\": \"left\", \"yanchor\": \"bottom\", \"font\": {\"color\": \"#d1495b\"}}], \"legend\": {\"orientation\": \"h\", \"y\": -0.2}, \"hovermode\": \"closest\"}}"');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,1,1.47520524808273295613e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,2,2.42156333175844840077e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,2,1,9.82412647434322133799e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,2,2,2.47006608497772423005e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,3,1,1.61652400817801411569e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,3,2,2.15536534423735243182e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(7,4,1,1.03063998368799161764e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(8,4,2,1.28829997960998948736e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(9,5,1,9.97667245446750144965e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(10,5,2,1.63506576337106246388e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(11,5,3,6.70654092772537624433e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(12,5,4,7.34393944564968759181e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(13,5,5,8.28618073301606306024e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(14,5,6,8.36931967013662569954e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(15,6,1,9.89319097567272764948e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(16,6,2,1.9236760230474750366e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(17,6,3,3.92979530422555567437e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(18,6,4,5.60614155288121196463e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(19,6,5,7.09012019923212166716e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(20,6,6,8.32676907119121345601e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(21,7,1,1.064016132511992202e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(22,7,2,2.54803863312082323755e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(23,7,3,4.22806410550817912685e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(24,7,4,6.1040925496740605638e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(25,7,5,7.8401188711409952603e-01,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'stage1.width',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 16]}}');
INSERT INTO "trial_params" VALUES(2,1,'stage1.depth',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}}');
INSERT INTO "trial_params" VALUES(3,1,'stage1.expansion',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [2, 3, 4]}}');
INSERT INTO "trial_params" VALUES(4,1,'stage1.kernels',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["3", "3.5"]}}');
INSERT INTO "trial_params" VALUES(5,2,'stage1.width',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 16]}}');
INSERT INTO "trial_params" VALUES(6,2,'stage1.depth',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}}');
INSERT INTO "trial_params" VALUES(7,2,'stage1.expansion',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [2, 3, 4]}}');
INSERT INTO "trial_params" VALUES(8,2,'stage1.kernels',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["3", "3.5"]}}');
INSERT INTO "trial_params" VALUES(9,3,'stage1.width',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 16]}}');
INSERT INTO "trial_params" VALUES(10,3,'stage1.depth',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}}');
INSERT INTO "trial_params" VALUES(11,3,'stage1.expansion',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [2, 3, 4]}}');
INSERT INTO "trial_params" VALUES(12,3,'stage1.kernels',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["3", "3.5"]}}');
INSERT INTO "trial_params" VALUES(13,4,'stage1.width',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 16]}}');
INSERT INTO "trial_params" VALUES(14,4,'stage1.depth',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}}');
INSERT INTO "trial_params" VALUES(15,4,'stage1.expansion',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [2, 3, 4]}}');
INSERT INTO "trial_params" VALUES(16,4,'stage1.kernels',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["3", "3.5"]}}');
INSERT INTO "trial_params" VALUES(17,5,'stage1.width',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 16]}}');
INSERT INTO "trial_params" VALUES(18,5,'stage1.depth',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}}');
INSERT INTO "trial_params" VALUES(19,5,'stage1.expansion',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [2, 3, 4]}}');
INSERT INTO "trial_params" VALUES(20,5,'stage1.kernels',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["3", "3.5"]}}');
INSERT INTO "trial_params" VALUES(21,6,'stage1.width',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 16]}}');
INSERT INTO "trial_params" VALUES(22,6,'stage1.depth',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}}');
INSERT INTO "trial_params" VALUES(23,6,'stage1.expansion',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [2, 3, 4]}}');
INSERT INTO "trial_params" VALUES(24,6,'stage1.kernels',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["3", "3.5"]}}');
INSERT INTO "trial_params" VALUES(25,7,'stage1.width',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 16]}}');
INSERT INTO "trial_params" VALUES(26,7,'stage1.depth',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}}');
INSERT INTO "trial_params" VALUES(27,7,'stage1.expansion',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [2, 3, 4]}}');
INSERT INTO "trial_params" VALUES(28,7,'stage1.kernels',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["3", "3.5"]}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'artifacts:acb6745a-790f-5aba-a029-48940b64b646','"{\"artifact_id\": \"acb6745a-790f-5aba-a029-48940b64b646\", \"filename\": \"network.py\", \"mimetype\": \"text/x-python\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(2,2,'artifacts:b66a9cec-6392-59bf-9c7b-cf48b732c780','"{\"artifact_id\": \"b66a9cec-6392-59bf-9c7b-cf48b732c780\", \"filename\": \"network.py\", \"mimetype\": \"text/x-python\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(3,3,'artifacts:14eb51b2-8a3b-5c5b-8297-ca530a3b305c','"{\"artifact_id\": \"14eb51b2-8a3b-5c5b-8297-ca530a3b305c\", \"filename\": \"network.py\", \"mimetype\": \"text/x-python\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(4,4,'artifacts:14b3a35e-b92a-5c14-bdf1-063c679d8a03','"{\"artifact_id\": \"14b3a35e-b92a-5c14-bdf1-063c679d8a03\", \"filename\": \"network.py\", \"mimetype\": \"text/x-python\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(5,5,'artifacts:6b742761-3c2a-526c-9b0d-7e589b2dcbcd','"{\"artifact_id\": \"6b742761-3c2a-526c-9b0d-7e589b2dcbcd\", \"filename\": \"network.py\", \"mimetype\": \"text/x-python\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(6,5,'artifacts:a0e36665-ce25-54f2-8d2a-8b78b3d36fd6','"{\"artifact_id\": \"a0e36665-ce25-54f2-8d2a-8b78b3d36fd6\", \"filename\": \"diagram.png\", \"mimetype\": \"image/png\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(7,6,'artifacts:04784008-74b0-570f-ae1a-174f38fb0741','"{\"artifact_id\": \"04784008-74b0-570f-ae1a-174f38fb0741\", \"filename\": \"network.py\", \"mimetype\": \"text/x-python\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(8,6,'artifacts:539946d4-93ba-5eea-9ea3-413edfde5629','"{\"artifact_id\": \"539946d4-93ba-5eea-9ea3-413edfde5629\", \"filename\": \"diagram.png\", \"mimetype\": \"image/png\", \"encoding\": null}"');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'evaluation','1');
INSERT INTO "trial_user_attributes" VALUES(2,1,'architecture_id','"e861e2f3c33a3f92"');
INSERT INTO "trial_user_attributes" VALUES(3,1,'notation','"cn_r1_k3_s1_c8\nir_r2_k3_s2_e4_c16\nfc_r1_c10"');
INSERT INTO "trial_user_attributes" VALUES(4,1,'macs','303264');
INSERT INTO "trial_user_attributes" VALUES(5,1,'params','4386');
INSERT INTO "trial_user_attributes" VALUES(6,1,'activations','22538');
INSERT INTO "trial_user_attributes" VALUES(7,1,'peak_activation_bytes','65536');
INSERT INTO "trial_user_attributes" VALUES(8,1,'fidelity','2');
INSERT INTO "trial_user_attributes" VALUES(9,1,'metrics','{"accuracy": 0.24233983286908078, "balanced_accuracy": 0.2425611325611326, "macro_f1": 0.15696442790904822, "auroc": 0.8636292705155719, "loss": 2.0896804332733154, "majority_rate": 0.10306406685236769, "predicted_classes": 6.0}');
INSERT INTO "trial_user_attributes" VALUES(10,2,'evaluation','2');
INSERT INTO "trial_user_attributes" VALUES(11,2,'architecture_id','"64990a5c4a63bdaa"');
INSERT INTO "trial_user_attributes" VALUES(12,2,'notation','"cn_r1_k3_s1_c8\nir_r2_k3.5_s2_e3_c16\nfc_r1_c10"');
INSERT INTO "trial_user_attributes" VALUES(13,2,'macs','268960');
INSERT INTO "trial_user_attributes" VALUES(14,2,'params','3946');
INSERT INTO "trial_user_attributes" VALUES(15,2,'activations','17930');
INSERT INTO "trial_user_attributes" VALUES(16,2,'peak_activation_bytes','49152');
INSERT INTO "trial_user_attributes" VALUES(17,2,'fidelity','2');
INSERT INTO "trial_user_attributes" VALUES(18,2,'metrics','{"accuracy": 0.24512534818941503, "balanced_accuracy": 0.24849206349206346, "macro_f1": 0.14382517704414857, "auroc": 0.9000538612216944, "loss": 2.092494010925293, "majority_rate": 0.10306406685236769, "predicted_classes": 5.0}');
INSERT INTO "trial_user_attributes" VALUES(19,3,'evaluation','3');
INSERT INTO "trial_user_attributes" VALUES(20,3,'architecture_id','"6bc0d2af6b4353cd"');
INSERT INTO "trial_user_attributes" VALUES(21,3,'notation','"cn_r1_k3_s1_c8\nir_r2_k3_s2_e3_c16\nfc_r1_c10"');
INSERT INTO "trial_user_attributes" VALUES(22,3,'macs','232096');
INSERT INTO "trial_user_attributes" VALUES(23,3,'params','3370');
INSERT INTO "trial_user_attributes" VALUES(24,3,'activations','17930');
INSERT INTO "trial_user_attributes" VALUES(25,3,'peak_activation_bytes','49152');
INSERT INTO "trial_user_attributes" VALUES(26,3,'fidelity','2');
INSERT INTO "trial_user_attributes" VALUES(27,3,'metrics','{"accuracy": 0.2116991643454039, "balanced_accuracy": 0.20841269841269844, "macro_f1": 0.10881120073091252, "auroc": 0.9053117234689452, "loss": 2.1020877361297607, "majority_rate": 0.10306406685236769, "predicted_classes": 6.0}');
INSERT INTO "trial_user_attributes" VALUES(28,4,'evaluation','4');
INSERT INTO "trial_user_attributes" VALUES(29,4,'architecture_id','"2998f6bd736f2676"');
INSERT INTO "trial_user_attributes" VALUES(30,4,'notation','"cn_r1_k3_s1_c8\nir_r2_k3.5_s2_e4_c8\nfc_r1_c10"');
INSERT INTO "trial_user_attributes" VALUES(31,4,'macs','202832');
INSERT INTO "trial_user_attributes" VALUES(32,4,'params','2578');
INSERT INTO "trial_user_attributes" VALUES(33,4,'activations','17418');
INSERT INTO "trial_user_attributes" VALUES(34,4,'peak_activation_bytes','65536');
INSERT INTO "trial_user_attributes" VALUES(35,4,'fidelity','2');
INSERT INTO "trial_user_attributes" VALUES(36,4,'metrics','{"accuracy": 0.12534818941504178, "balanced_accuracy": 0.12447447447447449, "macro_f1": 0.05096061520284452, "auroc": 0.867342396752591, "loss": 2.1570160388946533, "majority_rate": 0.10306406685236769, "predicted_classes": 6.0}');
INSERT INTO "trial_user_attributes" VALUES(37,5,'evaluation','5');
INSERT INTO "trial_user_attributes" VALUES(38,5,'architecture_id','"64990a5c4a63bdaa"');
INSERT INTO "trial_user_attributes" VALUES(39,5,'notation','"cn_r1_k3_s1_c8\nir_r2_k3.5_s2_e3_c16\nfc_r1_c10"');
INSERT INTO "trial_user_attributes" VALUES(40,5,'macs','268960');
INSERT INTO "trial_user_attributes" VALUES(41,5,'params','3946');
INSERT INTO "trial_user_attributes" VALUES(42,5,'activations','17930');
INSERT INTO "trial_user_attributes" VALUES(43,5,'peak_activation_bytes','49152');
INSERT INTO "trial_user_attributes" VALUES(44,5,'fidelity','6');
INSERT INTO "trial_user_attributes" VALUES(45,5,'metrics','{"accuracy": 0.841225626740947, "balanced_accuracy": 0.841143286143286, "macro_f1": 0.8379201432026864, "auroc": 0.989374505106546, "loss": 0.7195206880569458, "majority_rate": 0.10306406685236769, "predicted_classes": 10.0}');
INSERT INTO "trial_user_attributes" VALUES(46,6,'evaluation','6');
INSERT INTO "trial_user_attributes" VALUES(47,6,'architecture_id','"e861e2f3c33a3f92"');
INSERT INTO "trial_user_attributes" VALUES(48,6,'notation','"cn_r1_k3_s1_c8\nir_r2_k3_s2_e4_c16\nfc_r1_c10"');
INSERT INTO "trial_user_attributes" VALUES(49,6,'macs','303264');
INSERT INTO "trial_user_attributes" VALUES(50,6,'params','4386');
INSERT INTO "trial_user_attributes" VALUES(51,6,'activations','22538');
INSERT INTO "trial_user_attributes" VALUES(52,6,'peak_activation_bytes','65536');
INSERT INTO "trial_user_attributes" VALUES(53,6,'fidelity','6');
INSERT INTO "trial_user_attributes" VALUES(54,6,'metrics','{"accuracy": 0.8440111420612814, "balanced_accuracy": 0.8436078936078936, "macro_f1": 0.840406249707325, "auroc": 0.9808350132016395, "loss": 0.9938595294952393, "majority_rate": 0.10306406685236769, "predicted_classes": 10.0}');
INSERT INTO "trial_user_attributes" VALUES(55,7,'evaluation','7');
INSERT INTO "trial_user_attributes" VALUES(56,7,'architecture_id','"6bc0d2af6b4353cd"');
INSERT INTO "trial_user_attributes" VALUES(57,7,'notation','"cn_r1_k3_s1_c8\nir_r2_k3_s2_e3_c16\nfc_r1_c10"');
INSERT INTO "trial_user_attributes" VALUES(58,7,'macs','232096');
INSERT INTO "trial_user_attributes" VALUES(59,7,'params','3370');
INSERT INTO "trial_user_attributes" VALUES(60,7,'activations','17930');
INSERT INTO "trial_user_attributes" VALUES(61,7,'peak_activation_bytes','49152');
INSERT INTO "trial_user_attributes" VALUES(62,7,'fidelity','6');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,2.42156333175844840077e-01,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,2.47006608497772423005e-01,'FINITE');
INSERT INTO "trial_values" VALUES(3,3,0,2.15536534423735243182e-01,'FINITE');
INSERT INTO "trial_values" VALUES(4,4,0,1.28829997960998948736e-01,'FINITE');
INSERT INTO "trial_values" VALUES(5,5,0,8.36931967013662569954e-01,'FINITE');
INSERT INTO "trial_values" VALUES(6,6,0,8.32676907119121345601e-01,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-28 19:19:43.426509','2026-11-28 19:19:47.075012');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-28 19:19:47.089788','2026-11-28 19:19:48.620036');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-28 19:19:48.633764','2026-11-28 19:19:50.082687');
INSERT INTO "trials" VALUES(4,3,1,'COMPLETE','2026-11-28 19:19:50.096201','2026-11-28 19:19:51.757300');
INSERT INTO "trials" VALUES(5,0,2,'COMPLETE','2026-11-28 19:23:58.447066','2026-11-28 19:24:06.107554');
INSERT INTO "trials" VALUES(6,1,2,'COMPLETE','2026-11-28 19:24:06.122372','2026-11-28 19:24:10.767211');
INSERT INTO "trials" VALUES(7,2,2,'RUNNING','2026-11-28 19:24:10.784745',NULL);
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE INDEX ix_nas_evaluations_study_id ON nas_evaluations (study_id);
CREATE INDEX ix_nas_test_looks_study_id ON nas_test_looks (study_id);
CREATE INDEX ix_nas_trials_evaluation_id ON nas_trials (evaluation_id);
CREATE INDEX ix_nas_trials_reused ON nas_trials (study_id, trial_id) WHERE reused_from IS NOT NULL;
CREATE INDEX ix_nas_trials_promoted ON nas_trials (study_id, promoted_from) WHERE promoted_from IS NOT NULL;
CREATE INDEX ix_nas_evaluations_study_id_state_fidelity ON nas_evaluations (study_id, state, fidelity);
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
CREATE INDEX ix_nas_optuna_trials_state ON trials (study_id, state);
CREATE INDEX ix_nas_optuna_trial_values_value ON trial_values (value);
COMMIT;
