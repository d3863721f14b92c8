"""Cases for the corpora in other languages with labels in file names (see `naming_cases`)."""

from __future__ import annotations

from naming_cases import NamedCorpus

EMOVO = NamedCorpus(
    tree=[
        f"{speaker}/{emotion}-{speaker}-{sentence}.wav"
        for speaker in ("f1", "f2", "f3", "m1", "m2", "m3")
        for emotion in ("dis", "gio", "neu", "pau", "rab", "sor", "tri")
        for sentence in ("b1", "l1")
    ],
    says={
        "f2/gio-f2-b2.wav": dict(
            utterance="gio-f2-b2",
            speaker="f2",
            gender="female",
            text="I vigili sono muniti di pistola",
            language="it",
            label="gio",
        ),
        "m3/tri-m3-n5.wav": dict(speaker="m3", gender="male", label="tri"),
    },
    variants={"EMOVO/F2/GIO-F2-B2.wav": "f2/gio-f2-b2.wav", "gio-f2-b2.flac": "f2/gio-f2-b2.wav"},
    unused={
        "f1/gio-f2-b2.wav": "the folder says f1, the speaker of the name f2",
        "f2/gio-f2-b9.wav": "the name is not emotion, speaker, sentence",
    },
)

CAFE_FOLDERS = {"C": "Colère", "D": "Dégoût", "J": "Joie", "P": "Peur", "S": "Surprise", "T": "Tristesse"}
CAFE = NamedCorpus(
    tree=[
        f"{folder}/{intensity}/{actor:02}-{emotion}-{level}-1.wav"
        for actor in range(1, 13)
        for emotion, folder in CAFE_FOLDERS.items()
        for level, intensity in ((1, "Faible"), (2, "Fort"))
    ]
    + [f"Neutre/{actor:02}-N-1-1.wav" for actor in range(1, 13)],
    says={
        "Colère/Fort/12-C-2-5.wav": dict(
            utterance="12-C-2-5",
            speaker="12",
            gender="female",
            intensity="fort",
            text="Cinq pumas fiers et passionnés",
            language="fr",
            label="C",
        ),
        "Neutre/01-N-1-1.wav": dict(speaker="01", gender="male", intensity="", label="N"),
    },
    variants={
        "Cole\u0300re/Fort/12-C-2-5.wav": "Colère/Fort/12-C-2-5.wav",  # accents in the spelling of macOS
        "CaFE_48k/ColŠre/FORT/12-c-2-5.WAV": "Colère/Fort/12-C-2-5.wav",  # accents that unzip on Linux breaks
        "12-C-2-5.aiff": "Colère/Fort/12-C-2-5.wav",
    },
    unused={
        "Joie/Fort/12-C-2-5.wav": "the folder says Joie, the emotion of the name C",
        "Colère/Faible/12-C-2-5.wav": "the folder says Faible, the intensity of the name 2",
        "Joie/13-J-1-1.wav": "the name is not actor, emotion, intensity, sentence",
    },
)

SUBESCO_SPEAKERS = [f"{gender}_{number:02}" for gender in "FM" for number in range(1, 11)]
SUBESCO = NamedCorpus(
    tree=[
        f"{speaker}_NAME_S_10_{emotion}_{take}.wav"
        for speaker in SUBESCO_SPEAKERS
        for emotion in ("ANGRY", "DISGUST", "FEAR", "HAPPY", "NEUTRAL", "SAD", "SURPRISE")
        for take in (1, 5)
    ],
    says={
        "F_10_FAHMEE_S_6_FEAR_5.wav": dict(
            utterance="F_10_FAHMEE_S_6_FEAR_5", speaker="F_10", gender="female", language="bn", label="FEAR"
        ),
        "F_02_MONIKA_S_2_SURPRISE_3].wav": dict(
            utterance="F_02_MONIKA_S_2_SURPRISE_3", speaker="F_02", label="SURPRISE"
        ),
        "M_10_EVAN_S_10_SAD_1.wav": dict(speaker="M_10", gender="male", label="SAD"),
    },
    variants={
        "SUBESCO/fear/f_10_fahmee_s_6_fear_5.WAV": "F_10_FAHMEE_S_6_FEAR_5.wav",
        "F_02_MONIKA_S_2_SURPRISE_3.wav": "F_02_MONIKA_S_2_SURPRISE_3].wav",
    },
    unused={"F_10_FAHMEE_S_6_CALM_5.wav": "the name is not gender, number", "F_11_X_S_6_FEAR_5.wav": "the name is not"},
)

ESD_TEXTS = {  # in the encodings of the release
    "0001/0001.txt": "0001_000351\t打远一看，\t生气\n0001_000352\tno third column\n".encode("gb18030"),
    "0003/0003.txt": "0003_000701\t她的眼睛\t快乐\r\n".encode("utf-16"),
    "0011/0011.txt": b"0011_000001\tThe nine the eggs, I keep.\tNeutral\n",
    "0016/0016.txt": "0016_001051\tIt’s café.\tSad\n".encode("cp1252"),
}
ESD = NamedCorpus(
    tree=[
        f"{speaker:04}/{emotion}/{speaker:04}_{first + number:06}.wav"
        for speaker in range(1, 21)
        for emotion, first in {"Neutral": 1, "Angry": 351, "Happy": 701, "Sad": 1051, "Surprise": 1401}.items()
        for number in range(2)
    ],
    says={
        "0001/Angry/train/0001_000351.wav": dict(
            utterance="0001_000351",
            speaker="0001",
            gender="female",
            language="zh",
            text="打远一看，",
            split="",
            label="Angry",
        ),
        "0001/Angry/0001_000352.wav": dict(text=""),
        "0003/Happy/0003_000701.wav": dict(text="她的眼睛", gender="female"),
        "0011/Neutral/0011_000001.wav": dict(
            language="en", text="The nine the eggs, I keep.", gender="male", label="Neutral"
        ),
        "0016/Sad/0016_001051.wav": dict(text="It’s café.", gender="female", label="Sad"),
    },
    variants={
        "Emotion Speech Dataset/0001/ANGRY/0001_000351.flac": "0001/Angry/train/0001_000351.wav",
        "angry/0001_000351.wav": "0001/Angry/train/0001_000351.wav",
    },
    unused={
        "0001/0001_000001.wav": "no folder above it says the emotion",
        "0002/Angry/0001_000351.wav": "the folder says 0002, the speaker of the name 0001",
        "0021/Angry/0021_000351.wav": "the name is not speaker and number",
    },
    files=ESD_TEXTS,
)

AESDD_FOLDERS = {"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "s": "sadness"}
AESDD = NamedCorpus(
    tree=[
        f"{folder}/{emotion}{number:02} ({speaker}).wav"
        for speaker in range(1, 7)
        for emotion, folder in AESDD_FOLDERS.items()
        for number in (1, 2)
    ],
    says={
        "anger/a03 (3).wav": dict(utterance="a03 (3)", speaker="3", gender="", language="el", label="a"),
        "fear/f10 (01).wav": dict(utterance="f10 (1)", speaker="1", label="f"),
        "anger/a06 (5)b.wav": dict(utterance="a06 (5)b", speaker="5", label="a"),
    },
    variants={"a03 (3).wav": "anger/a03 (3).wav", "AESDD/Anger/A03_(3).flac": "anger/a03 (3).wav"},
    unused={
        "fear/a03 (3).wav": "the folder says fear, the emotion of the name a",
        "anger/a03.wav": "the name is not emotion letter, utterance, (speaker)",
    },
)

SHEMO = NamedCorpus(
    tree=[
        f"{folder}/{gender}{speaker:02}{emotion}01.wav"
        for folder, gender, speakers in (("female", "F", 31), ("male", "M", 56))
        for speaker in range(1, speakers + 1)
        for emotion in "AFHNSW"
    ],
    says={
        "male/M36S02.wav": dict(
            utterance="M36S02", speaker="M36", gender="male", text="سلام دنیا", language="fa", label="S"
        ),
        "female/F01F03.wav": dict(speaker="F01", gender="female", text="", label="F"),
    },
    variants={"M36S02.wav": "male/M36S02.wav", "ShEMO/Male/m36s02.flac": "male/M36S02.wav"},
    unused={
        "female/M36S02.wav": "the folder says female, the gender of the name M",
        "male/M36X02.wav": "the name is not gender and speaker",
    },
    files={"transcript/final text/M36S02.ort": "\ufeffسلام  دنیا\n".encode()},
)

ASVP_ESD = NamedCorpus(
    tree=[
        f"Audio/actor_{actor}/03-{channel}-{emotion:02}-01-01-{actor:02}-02-02-01.wav"
        for actor in range(1, 132)
        for channel in ("01", "02")
        for emotion in (range(1, 14) if actor < 8 else (actor % 13 + 1,))
    ],
    says={
        "Audio/actor_36/03-01-04-02-10-36-03-03-01.wav": dict(
            utterance="03-01-04-02-10-36-03-03-01",
            speaker="36",
            intensity="high",
            gender="",
            language="",
            label="01-04",
        ),
        "Audio/actor_7/03-02-05-01-08-07-02-03.wav": dict(speaker="7", intensity="normal", label="02-05"),
        "Bonus/actor_150/03-02-04-04-52-150-04-01-00-14 -03.wav": dict(speaker="150", intensity="", label="02-04"),
        "Audio/actor_/03-02-13-01-41-116-02-02-02-06.wav": dict(speaker="116", label="02-13"),
    },
    variants={
        "03-01-04-02-10-36-03-03-01.flac": "Audio/actor_36/03-01-04-02-10-36-03-03-01.wav",
        "ASVP-ESD-Update/audio/Actor_36/03-01-04-02-10-36-03-03-01.wav": (
            "Audio/actor_36/03-01-04-02-10-36-03-03-01.wav"
        ),
    },
    unused={
        "Bonus/actor_200/03-01-17-01-02-200-05-02-01-12.wav": "the name is not modality, channel, emotion",
        "Audio/actor_112/03-02-07-01-44-98-02-02-01-37.wav": "the folder says actor_112, the actor of the name 98",
    },
)

CORPORA = {
    "emovo": EMOVO,
    "cafe": CAFE,
    "subesco": SUBESCO,
    "esd": ESD,
    "aesdd": AESDD,
    "shemo": SHEMO,
    "asvp_esd": ASVP_ESD,
}
